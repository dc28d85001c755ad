//! Logs: one JSON object a line on the standard output, times in UTC (RFC 3339).

use std::panic::PanicHookInfo;

use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::types::LogLevel;

/// The crates of this workspace, by the beginning of their names.
const OWN_CRATES: &str = "mini";

/// Starts the log and reports panics through it. A second call changes nothing.
///
/// Libraries never say more than warnings, whatever the level: what they write at other levels may hold statements,
/// headers or addresses with credentials in them.
pub fn start(level: LogLevel) {
    let own = match level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Trace => Level::TRACE,
    };
    let libraries = LevelFilter::from_level(own).min(LevelFilter::WARN);
    let filter = Targets::new().with_default(libraries).with_target(OWN_CRATES, own);
    let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_span_list(false).with_filter(filter);
    if tracing::subscriber::set_global_default(tracing_subscriber::registry().with(lines)).is_ok() {
        std::panic::set_hook(Box::new(report_panic));
    }
}

/// Reports where a panic happened. Its text is only reported when it is a literal of the program: a formatted one can
/// hold any value, and so any secret.
fn report_panic(panic: &PanicHookInfo<'_>) {
    let text = panic.payload().downcast_ref::<&'static str>().copied().unwrap_or("(formatted text, withheld)");
    let (file, line) = panic.location().map_or(("unknown", 0), |location| (location.file(), location.line()));
    tracing::error!(text, file, line, "panic");
}
