//! What a new service has to have: planned from templates as a plain value, then written whole or not at all. And what a workspace
//! lacks that xtask was copied into.

mod adopt;
mod names;
mod plan;
mod template;
mod write;

pub use self::adopt::{Lack, NEVER_COMMITTED, lacks};
pub use self::names::Names;
pub use self::plan::{Change, Plan};
pub use self::write::Written;
