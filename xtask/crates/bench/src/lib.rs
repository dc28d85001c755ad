//! Figures beside their alternative, measured in one run and written only when told to: builds beside plain cargo and cargo-chef, images
//! beside a naive one, an edit's way to its answer, a proxy beside nginx. What of the workspace is measured is policy (`bench.toml`).

mod build;
mod chart;
mod document;
mod edit_loop;
mod images;
mod policy;
mod proxy;

pub use self::build::measure as build_times;
pub use self::edit_loop::measure as edit_loop;
pub use self::images::measure as image_sizes;
pub use self::proxy::{Choice, measure as proxy_beside_nginx};
