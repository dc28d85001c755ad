//! The HTTP interface of orders. Every route needs a token, and a user sees no orders but their own.

mod refusal;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use http::header::LOCATION;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use mini_kit::request_id::RequestId;
use mini_kit::trace_context::TraceContext;
use mini_kit_api::caller::Caller;
use mini_kit_api::conditional::{Conditions, tagged};
use mini_kit_api::extract::{Json, Path};
use mini_kit_api::page::{Cursor, Limit};
use mini_kit_api::query::Parameters;
use mini_kit_api::{Problem, id};
#[cfg(feature = "openapi")]
use {
    mini_kit::problem::{Kind, listed},
    mini_kit_api::conditional::ConditionHeaders,
    mini_kit_api::page::{Page, PageQuery},
};

use crate::App;
use crate::idempotency::IdempotencyKey;
use crate::order::{Order, OrderForm, Wanted};
use crate::store::{self, Placed};

/// Says, with the value `true`, that the order of this answer was placed by an earlier request with the same key.
pub const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// The routes of the service, without those that every service has.
pub fn router(app: App) -> Router {
    Router::new().route("/orders", get(list).post(place)).route("/orders/{id}", get(find)).with_state(app)
}

/// The routes, described.
#[cfg(feature = "openapi")]
#[derive(utoipa::OpenApi)]
#[openapi(paths(place, list, find))]
pub struct Description;

/// Places an order: the key first, then the prices, then the write. The catalogue is asked without a database
/// connection in hand, so a slow catalogue cannot use up the pool.
#[cfg_attr(feature = "openapi", utoipa::path(
    post, path = "/orders", tag = "orders", summary = "Place an order",
    description = "At the prices that the catalogue has now. With an `Idempotency-Key` the request may be repeated: it places one order.",
    params(("Idempotency-Key" = Option<String>, Header, nullable = false, pattern = "^[!-~]{1,255}$",
        description = "The client's own name for this order, such as a UUID")),
    request_body = OrderForm, security(("bearer" = [])),
    responses(
        (status = CREATED, description = "The order, also when an earlier request with the same key placed it", body = Order, headers(
            ("ETag" = String, description = "The tag of this state"), ("Location" = String, description = "The path of the order"),
            ("Idempotent-Replayed" = String, description = "`true` when an earlier request placed the order"))),
        (status = BAD_REQUEST, description = listed(&[Kind::InvalidIdempotencyKey])),
        (status = NOT_FOUND, description = listed(&[Kind::UnknownProduct])),
        (status = UNPROCESSABLE_ENTITY, description = listed(&[Kind::IdempotencyKeyReused])),
        (status = BAD_GATEWAY, description = listed(&[Kind::CatalogueInvalid])),
        (status = SERVICE_UNAVAILABLE, description = listed(&[Kind::CatalogueUnavailable])),
    ),
))]
async fn place(
    State(app): State<App>,
    Extension(request_id): Extension<RequestId>,
    Extension(trace): Extension<TraceContext>,
    caller: Caller,
    headers: HeaderMap,
    Json(form): Json<OrderForm>,
) -> Result<Response, Problem> {
    let key = IdempotencyKey::from_headers(&headers).map_err(|reason| refusal::of_key(&reason))?;
    let wanted = form.parse().map_err(Problem::invalid)?;
    if let Some(key) = &key
        && let Some(order) = store::find_by_key(&app.pool, caller.id, key).await?
    {
        return replay(&wanted, order);
    }
    let product_ids: Vec<_> = wanted.items().iter().map(|item| item.product_id).collect();
    let prices =
        app.catalogue.prices(&product_ids, &request_id, &trace).await.map_err(|error| refusal::of_catalogue(&error))?;
    let priced = wanted.priced(&prices).map_err(refusal::of_pricing)?;
    match store::place(&app.pool, caller.id, key.as_ref(), priced).await? {
        Placed::Now(order) => created(order),
        Placed::Before(order) => replay(&wanted, order),
    }
}

fn replay(wanted: &Wanted, order: Order) -> Result<Response, Problem> {
    if !wanted.is_of(&order) {
        return Err(refusal::of_reused_key());
    }
    let mut response = created(order)?;
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}

fn created(order: Order) -> Result<Response, Problem> {
    let location = HeaderValue::try_from(format!("/orders/{}", order.id)).map_err(Problem::internal)?;
    Ok(tagged(&order.tag(), (StatusCode::CREATED, [(LOCATION, location)], Json(order))))
}

#[cfg_attr(feature = "openapi", utoipa::path(
    get, path = "/orders", tag = "orders", summary = "List one's own orders, newest first", description = "",
    params(PageQuery, ConditionHeaders), security(("bearer" = [])),
    responses(
        (status = OK, description = "A page of orders", body = Page<Order>, headers(("ETag" = String, description = "The tag of this state"))),
        (status = NOT_MODIFIED, description = "The reader has this state already", headers(("ETag" = String, description = "The tag of this state"))),
    ),
))]
async fn list(
    State(app): State<App>,
    caller: Caller,
    RawQuery(query): RawQuery,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let (cursor, limit) = parse_query(query.as_deref()).map_err(Problem::invalid_query)?;
    let page = store::list(&app.pool, caller.id, cursor, limit).await?;
    Ok(conditions.answer(&page.tag(|order| (order.id, order.tag())), Json(page)))
}

fn parse_query(query: Option<&str>) -> Result<(Cursor, Limit), String> {
    let parameters = Parameters::parse(query, &["limit", "cursor"])?;
    let cursor = parameters.get("cursor", Cursor::parse)?.unwrap_or(Cursor::START);
    Ok((cursor, parameters.get("limit", Limit::parse)?.unwrap_or_default()))
}

/// Another user's order is answered like one that does not exist: the difference would tell which ids exist.
#[cfg_attr(feature = "openapi", utoipa::path(
    get, path = "/orders/{id}", tag = "orders", summary = "Read an order of one's own", description = "",
    params(("id" = uuid::Uuid, Path), ConditionHeaders), security(("bearer" = [])),
    responses(
        (status = OK, description = "The order", body = Order, headers(("ETag" = String, description = "The tag of this state"))),
        (status = NOT_MODIFIED, description = "The reader has this state already", headers(("ETag" = String, description = "The tag of this state"))),
        (status = NOT_FOUND, description = listed(&[Kind::NotFound])),
    ),
))]
async fn find(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let id = id::parse(&id).ok_or_else(refusal::of_unknown_order)?;
    let order = store::find(&app.pool, caller.id, id).await?.ok_or_else(refusal::of_unknown_order)?;
    Ok(conditions.answer(&order.tag(), Json(order)))
}
