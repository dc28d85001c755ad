//! Orders of the mini shop.

use std::process::ExitCode;

use mini_kit::Build;

fn main() -> ExitCode {
    let build = Build {
        version: env!("CARGO_PKG_VERSION"),
        revision: option_env!("MINI_ORDER_REVISION"),
        created: option_env!("MINI_ORDER_CREATED"),
    };
    mini_kit::run(&mini_order::SERVICE, build)
}
