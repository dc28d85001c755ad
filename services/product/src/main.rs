//! The catalogue of the mini shop.

use std::process::ExitCode;

use mini_kit::Build;

fn main() -> ExitCode {
    let build = Build {
        version: env!("CARGO_PKG_VERSION"),
        revision: option_env!("MINI_PRODUCT_REVISION"),
        created: option_env!("MINI_PRODUCT_CREATED"),
    };
    mini_kit::run(&mini_product::SERVICE, build)
}
