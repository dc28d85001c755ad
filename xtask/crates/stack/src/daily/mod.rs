//! The stack for a person to play with: one per checkout, apart from every test's, found by its Compose project's label.

mod down;
mod logs;
mod own;
mod ports;
mod ps;
mod restart;
mod up;
mod watch;

pub use self::down::{down, tell_of};
pub use self::logs::{Logs, logs};
pub use self::ps::ps;
pub use self::restart::restart;
pub use self::up::Up;
pub use self::watch::watch;

use xtask_outcome::Stop;

use crate::readiness::ContainerState;

/// The containers of the services that a command line names, all of them when it names none.
///
/// # Errors
/// [`Stop::Usage`] names the first that is not there and lists those that are; [`Stop::Absent`] when there is none at all.
fn select<'a>(containers: &'a [ContainerState], names: &[String]) -> Result<Vec<&'a ContainerState>, Stop> {
    if containers.is_empty() {
        return Err(Stop::Absent("no stack of this checkout is up; next: `cargo xtask up`".to_owned()));
    }
    if let Some(unknown) = names.iter().find(|name| !containers.iter().any(|one| one.service == **name)) {
        let mut known: Vec<_> = containers.iter().map(|container| container.service.as_str()).collect();
        known.sort_unstable();
        return Err(Stop::Usage(format!(
            "the stack has no service `{unknown}`; its services are {}",
            known.join(", ")
        )));
    }
    let mut selected: Vec<_> =
        containers.iter().filter(|one| names.is_empty() || names.contains(&one.service)).collect();
    selected.sort_by(|a, b| a.service.cmp(&b.service));
    Ok(selected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_is_not_there_is_a_usage_error_and_no_stack_is_another_thing() {
        let container = |service: &str| ContainerState { service: service.into(), ..ContainerState::default() };
        let both = [container("user"), container("order")];
        let names = |wanted: &[&str]| {
            let wanted: Vec<_> = wanted.iter().map(|name| (*name).to_owned()).collect();
            select(&both, &wanted).map(|found| found.iter().map(|one| one.service.clone()).collect::<Vec<_>>())
        };
        assert_eq!(names(&[]).unwrap(), ["order", "user"]);
        assert_eq!(names(&["user"]).unwrap(), ["user"]);
        assert!(
            matches!(names(&["usr"]), Err(Stop::Usage(text)) if text.ends_with("`usr`; its services are order, user"))
        );
        assert!(matches!(select(&[], &[]), Err(Stop::Absent(text)) if text.contains("cargo xtask up")));
    }
}
