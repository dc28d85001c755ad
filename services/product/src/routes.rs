//! The HTTP interface of the catalogue. Everybody may read; administrators write.

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::LOCATION;
use http::{HeaderValue, StatusCode};
use mini_kit::caller::Caller;
use mini_kit::extract::{Json, Path};
use mini_kit::page::Page;
use mini_kit::{Problem, id};

use crate::App;
use crate::lookup::Lookup;
use crate::product::{ChangeForm, CreateForm, Product};
use crate::store;

/// The routes of the service, without those that every service has.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/products", get(list).post(create))
        .route("/products/{id}", get(find).patch(change))
        .with_state(app)
}

async fn list(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Json<Page<Product>>, Problem> {
    let page = match Lookup::parse(query.as_deref()).map_err(Problem::invalid_query)? {
        Lookup::Page { cursor, limit } => store::list(&app.pool, cursor, limit).await?,
        Lookup::Ids(ids) => Page { items: store::find_all(&app.pool, &ids).await?, next_cursor: None },
    };
    Ok(Json(page))
}

async fn find(State(app): State<App>, Path(id): Path<String>) -> Result<Json<Product>, Problem> {
    let id = id::parse(&id).ok_or_else(not_found)?;
    let product = store::find(&app.pool, id).await?;
    product.map(Json).ok_or_else(not_found)
}

async fn create(
    State(app): State<App>,
    caller: Caller,
    body: Result<Json<CreateForm>, Problem>,
) -> Result<Response, Problem> {
    caller.require_admin()?;
    let product = body?.0.parse().map_err(Problem::invalid)?;
    let product = store::create(&app.pool, &product).await?;
    let location = HeaderValue::try_from(format!("/products/{}", product.id)).map_err(Problem::internal)?;
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(product)).into_response())
}

async fn change(
    State(app): State<App>,
    Path(id): Path<String>,
    caller: Caller,
    body: Result<Json<ChangeForm>, Problem>,
) -> Result<Json<Product>, Problem> {
    caller.require_admin()?;
    let id = id::parse(&id).ok_or_else(not_found)?;
    let change = body?.0.parse().map_err(Problem::invalid)?;
    let product = store::change(&app.pool, id, &change).await?;
    product.map(Json).ok_or_else(not_found)
}

fn not_found() -> Problem {
    Problem::from_status(StatusCode::NOT_FOUND).detail("there is no such product")
}
