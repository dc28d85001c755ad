//! docker, buildx, Compose and their like: finding them, fetching them, asking them; and the base images.

mod bases;
mod clients;
mod container;
mod debian;
mod fetch;
mod inspect;
mod known_versions;
mod kubectl;
mod plugins;
mod ready;
mod throw_away;
mod tool_policy;
mod toolbox;
mod version;

pub use self::bases::{Base, BasePolicy, Bases};
pub use self::container::{CHECKOUT_LABEL, OneShot, Start, remove_one_shots};
pub use self::inspect::{Inspected, inspect};
pub use self::kubectl::kustomize;
pub use self::ready::{Ready, docker, ready, survey};
pub use self::throw_away::ThrowAway;
pub use self::toolbox::{Tool, Toolbox};
pub use self::version::Version;
