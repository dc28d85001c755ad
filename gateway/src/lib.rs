//! The one public door of the mini shop.
//!
//! A request comes in ([`gateway`]), is judged by its head ([`admission`]: [`target`], [`host`], [`rate_limit`]), loses
//! what may not cross ([`headers`]), learns where it came from ([`origin`], [`forwarded`]), is exchanged with one service
//! ([`upstream`]) while its bodies stream through ([`body`]), or is answered by the gateway itself ([`refusal`]).
//!
//! The gateway knows nobody: it passes `Authorization` on as it came, and the services verify tokens themselves.

pub mod access_log;
pub mod admission;
pub mod body;
pub mod forwarded;
pub mod gateway;
pub mod headers;
pub mod host;
pub mod origin;
pub mod rate_limit;
pub mod refusal;
pub mod settings;
pub mod target;
pub mod threads;
pub mod upstream;

use mini_kit::Service;

use crate::settings::Settings;

/// The gateway as the kit runs it.
pub static SERVICE: Service<Settings> =
    Service { name: "mini-gateway", declare: Settings::declare, serve: threads::serve, commands: &[] };
