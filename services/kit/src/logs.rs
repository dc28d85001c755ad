//! Logs: one JSON object a line on the standard output, times in UTC (RFC 3339).

mod line;
mod writer;

use std::panic::PanicHookInfo;

use tracing::level_filters::LevelFilter;
use tracing::{Level, Subscriber};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;

pub use self::line::{Line, write};
use crate::types::LogLevel;

/// The crates of this workspace, by the beginning of their names. The underscore keeps others out, such as `miniz_oxide`.
const OWN_CRATES: &str = "mini_";

/// Starts the log and reports panics through it. A second call changes nothing.
///
/// Libraries never say more than warnings, whatever the level: what they write at other levels may hold statements,
/// headers or addresses with credentials in them.
pub fn start(level: LogLevel) {
    if tracing::subscriber::set_global_default(subscriber(level, || writer::Writer)).is_ok() {
        writer::start();
        line::start(level);
        std::panic::set_hook(Box::new(report_panic));
    }
}

fn subscriber(
    level: LogLevel,
    out: impl for<'line> MakeWriter<'line> + Send + Sync + 'static,
) -> impl Subscriber + Send + Sync {
    let own = match level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Trace => Level::TRACE,
    };
    let libraries = LevelFilter::from_level(own).min(LevelFilter::WARN);
    let filter = Targets::new().with_default(libraries).with_target(OWN_CRATES, own);
    let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_span_list(false).with_writer(out);
    tracing_subscriber::registry().with(lines.with_filter(filter))
}

/// Waits until every line is out. Whoever ends the process calls it last.
pub fn flush() {
    writer::flush();
}

/// Reports where a panic happened. Its text is only reported when it is a literal of the program: a formatted one can
/// hold any value, and so any secret.
fn report_panic(panic: &PanicHookInfo<'_>) {
    let text = panic.payload().downcast_ref::<&'static str>().copied().unwrap_or("(formatted text, withheld)");
    let (file, line) = panic.location().map_or(("unknown", 0), |location| (location.file(), location.line()));
    tracing::error!(text, file, line, "panic");
    // A panic of the main thread ends the process.
    flush();
}

/// What a service at this level writes while `work` runs on this thread. It must fit into a pipe, 64 KiB.
#[cfg(test)]
pub(crate) fn written(level: LogLevel, work: impl FnOnce()) -> String {
    let (reader, writer) = std::io::pipe().unwrap();
    tracing::subscriber::with_default(subscriber(level, std::sync::Mutex::new(writer)), work);
    std::io::read_to_string(reader).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One event at every level from this crate and from two others.
    fn speak() {
        macro_rules! at_every_level {
            ($target:literal) => {
                tracing::error!(target: $target, "error of {}", $target);
                tracing::warn!(target: $target, "warn of {}", $target);
                tracing::info!(target: $target, "info of {}", $target);
                tracing::debug!(target: $target, "debug of {}", $target);
                tracing::trace!(target: $target, "trace of {}", $target);
            };
        }
        at_every_level!("mini_order::store");
        at_every_level!("sqlx::query");
        at_every_level!("miniz_oxide");
    }

    #[test]
    fn libraries_write_warnings_and_errors_only_whatever_the_level() {
        for (level, own, libraries) in [
            (LogLevel::Error, 1, 1),
            (LogLevel::Warn, 2, 2),
            (LogLevel::Info, 3, 2),
            (LogLevel::Debug, 4, 2),
            (LogLevel::Trace, 5, 2),
        ] {
            let log = written(level, speak);
            for (target, expected) in
                [("mini_order::store", own), ("sqlx::query", libraries), ("miniz_oxide", libraries)]
            {
                for (number, name) in ["error", "warn", "info", "debug", "trace"].into_iter().enumerate() {
                    let is_written = log.contains(&format!("\"{name} of {target}\""));
                    assert_eq!(is_written, number < expected, "{name} of {target} at {level:?}:\n{log}");
                }
            }
        }
    }
}
