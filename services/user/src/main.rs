//! Accounts and tokens of the mini shop.

use std::process::ExitCode;

fn main() -> ExitCode {
    let build = mini_kit::Build {
        version: env!("CARGO_PKG_VERSION"),
        revision: option_env!("MINI_USER_REVISION"),
        created: option_env!("MINI_USER_CREATED"),
    };
    mini_kit::run(&mini_user::SERVICE, build)
}
