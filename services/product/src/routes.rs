//! The HTTP interface of the catalogue. Everybody may read; administrators write.

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use axum::routing::get;
use http::header::LOCATION;
use http::{HeaderValue, StatusCode};
use mini_kit_api::caller::Caller;
use mini_kit_api::conditional::{Conditions, precondition_failed, tagged};
use mini_kit_api::extract::{Json, Path};
use mini_kit_api::page::Page;
use mini_kit_api::{Problem, id};
#[cfg(feature = "openapi")]
use {
    crate::product::Product,
    mini_kit::problem::{Kind, listed},
    mini_kit_api::conditional::ConditionHeaders,
    mini_kit_api::page::PageQuery,
};

use crate::App;
use crate::lookup::Lookup;
use crate::product::{ChangeForm, CreateForm, States};
use crate::store;

/// The routes of the service, without those that every service has.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/products", get(list).post(create))
        .route("/products/{id}", get(find).patch(change))
        .with_state(app)
}

/// The routes, described.
#[cfg(feature = "openapi")]
#[derive(utoipa::OpenApi)]
#[openapi(paths(list, find, create, change))]
pub struct Description;

#[cfg_attr(feature = "openapi", utoipa::path(
    get, path = "/products", tag = "products", summary = "List the catalogue, newest first",
    description = "Either a page, with `limit` and `cursor`, or those of the products named by `ids` that exist.",
    params(PageQuery, ConditionHeaders, ("ids" = Option<Vec<uuid::Uuid>>, Query, description = "Certain products instead of a page; without `limit` and `cursor`",
        style = Form, explode = false, nullable = false, min_items = 1, max_items = 50)),
    responses(
        (status = OK, description = "A page of products", body = Page<Product>, headers(("ETag" = String, description = "The tag of this state"))),
        (status = NOT_MODIFIED, description = "The reader has this state already", headers(("ETag" = String, description = "The tag of this state"))),
    ),
))]
async fn list(State(app): State<App>, RawQuery(query): RawQuery, conditions: Conditions) -> Result<Response, Problem> {
    let page = match Lookup::parse(query.as_deref()).map_err(Problem::invalid_query)? {
        Lookup::Page { cursor, limit } => store::list(&app.pool, cursor, limit).await?,
        Lookup::Ids(ids) => Page { items: store::find_all(&app.pool, &ids).await?, next_cursor: None },
    };
    Ok(conditions.answer(&page.tag(|product| (product.id, product.tag())), Json(page)))
}

#[cfg_attr(feature = "openapi", utoipa::path(
    get, path = "/products/{id}", tag = "products", summary = "Read a product", description = "",
    params(("id" = uuid::Uuid, Path), ConditionHeaders),
    responses(
        (status = OK, description = "The product", body = Product, headers(("ETag" = String, description = "The tag of this state"))),
        (status = NOT_MODIFIED, description = "The reader has this state already", headers(("ETag" = String, description = "The tag of this state"))),
        (status = NOT_FOUND, description = listed(&[Kind::NotFound])),
    ),
))]
async fn find(State(app): State<App>, Path(id): Path<String>, conditions: Conditions) -> Result<Response, Problem> {
    let id = id::parse(&id).ok_or_else(not_found)?;
    let product = store::find(&app.pool, id).await?.ok_or_else(not_found)?;
    Ok(conditions.answer(&product.tag(), Json(product)))
}

#[cfg_attr(feature = "openapi", utoipa::path(
    post, path = "/products", tag = "products", summary = "Add a product", description = "For administrators.",
    request_body = CreateForm, security(("bearer" = [])),
    responses(
        (status = CREATED, description = "The product", body = Product, headers(
            ("ETag" = String, description = "The tag of this state"), ("Location" = String, description = "The path of the product"))),
        (status = FORBIDDEN, description = listed(&[Kind::Forbidden])),
    ),
))]
async fn create(
    State(app): State<App>,
    caller: Caller,
    body: Result<Json<CreateForm>, Problem>,
) -> Result<Response, Problem> {
    caller.require_admin()?;
    let product = body?.0.parse().map_err(Problem::invalid)?;
    let product = store::create(&app.pool, &product).await?;
    let location = HeaderValue::try_from(format!("/products/{}", product.id)).map_err(Problem::internal)?;
    Ok(tagged(&product.tag(), (StatusCode::CREATED, [(LOCATION, location)], Json(product))))
}

#[cfg_attr(feature = "openapi", utoipa::path(
    patch, path = "/products/{id}", tag = "products", summary = "Change a product",
    description = "For administrators. With `If-Match`, only the state that was read is changed, and never what somebody else has changed meanwhile.",
    params(("id" = uuid::Uuid, Path), ConditionHeaders),
    request_body(content((ChangeForm = "application/json"), (ChangeForm = "application/merge-patch+json"))), security(("bearer" = [])),
    responses(
        (status = OK, description = "The product as it is now", body = Product, headers(("ETag" = String, description = "The tag of this state"))),
        (status = FORBIDDEN, description = listed(&[Kind::Forbidden])),
        (status = NOT_FOUND, description = listed(&[Kind::NotFound])),
    ),
))]
async fn change(
    State(app): State<App>,
    Path(id): Path<String>,
    caller: Caller,
    conditions: Result<Conditions, Problem>,
    body: Result<Json<ChangeForm>, Problem>,
) -> Result<Response, Problem> {
    caller.require_admin()?;
    let id = id::parse(&id).ok_or_else(not_found)?;
    let states = States::from(&conditions?);
    let change = body?.0.parse().map_err(Problem::invalid)?;
    match store::change(&app.pool, id, &change, &states).await? {
        Some(product) => Ok(tagged(&product.tag(), Json(product))),
        None if !states.is_any() && store::find(&app.pool, id).await?.is_some() => Err(precondition_failed()),
        None => Err(not_found()),
    }
}

fn not_found() -> Problem {
    Problem::from_status(StatusCode::NOT_FOUND).detail("there is no such product")
}
