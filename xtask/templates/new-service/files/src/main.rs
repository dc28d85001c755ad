//! __description__.

use std::process::ExitCode;

use mini_kit::Build;

fn main() -> ExitCode {
    let build = Build {
        version: env!("CARGO_PKG_VERSION"),
        revision: option_env!("__PACKAGE___REVISION"),
        created: option_env!("__PACKAGE___CREATED"),
    };
    mini_kit::run(&__crate__::SERVICE, build)
}
