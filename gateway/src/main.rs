//! The gateway's program.

use std::process::ExitCode;

use mini_kit::Build;

fn main() -> ExitCode {
    let build = Build {
        version: env!("CARGO_PKG_VERSION"),
        revision: option_env!("MINI_GATEWAY_REVISION"),
        created: option_env!("MINI_GATEWAY_CREATED"),
    };
    mini_kit::run(&mini_gateway::SERVICE, build)
}
