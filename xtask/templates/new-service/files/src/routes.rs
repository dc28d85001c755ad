//! The HTTP interface: a list, for a beginning.

use axum::Router;
@database
use axum::extract::State;
@end
use axum::routing::get;
@database
use mini_kit_api::Problem;
@end
use mini_kit_api::extract::Json;
use serde::Serialize;

@database
use crate::{App, store};

@end
/// What `GET /__path__` answers.
#[derive(Debug, Serialize)]
pub struct List {
@database
    items: Vec<store::Item>,
@no-database
    items: Vec<String>,
@end
}

/// The routes of the service, without those that every service has.
@database
pub fn router(app: App) -> Router {
    Router::new().route("/__path__", get(list)).with_state(app)
}

async fn list(State(app): State<App>) -> Result<Json<List>, Problem> {
    Ok(Json(List { items: store::newest(&app.pool).await? }))
}
@no-database
pub fn router() -> Router {
    Router::new().route("/__path__", get(list))
}

async fn list() -> Json<List> {
    Json(List { items: Vec::new() })
}
@end
