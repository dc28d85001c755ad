//! Where the docker client looks for its plugins, in its documented order: the person's own folder, then the system's. Folders that
//! its configuration adds are known by a change of that file alone.

use std::path::{Path, PathBuf};

use xtask_workspace::Environment;

const CONFIGURATION: &str = "config.json";
const SYSTEM: [&str; 4] = [
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
];

/// The files that decide what `docker NAME` is, whether they are there or not.
pub(super) fn files(environment: &Environment, name: &str) -> Vec<PathBuf> {
    let value = |wanted: &str| environment.engine.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value);
    let own = value("DOCKER_CONFIG").map(PathBuf::from);
    let own = own.or_else(|| value("HOME").map(|home| Path::new(home).join(".docker")));
    let folders = own.iter().map(|own| own.join("cli-plugins")).chain(SYSTEM.into_iter().map(PathBuf::from));
    let plugins = folders.map(|folder| folder.join(format!("docker-{name}")));
    own.iter().map(|own| own.join(CONFIGURATION)).chain(plugins).collect()
}

/// Whether one of those files is the plugin, and not what configures the client.
pub(super) fn is_plugin(file: &Path) -> bool {
    !file.ends_with(CONFIGURATION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_is_looked_for_in_the_persons_own_folder_first() {
        let environment = |variables: &[(&'static str, &str)]| Environment {
            engine: variables.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(),
            ..Environment::default()
        };
        let found = files(&environment(&[("HOME", "/home/a")]), "buildx");
        assert_eq!(found[0], Path::new("/home/a/.docker/config.json"));
        assert_eq!(found[1], Path::new("/home/a/.docker/cli-plugins/docker-buildx"));
        assert_eq!(found.iter().filter(|file| is_plugin(file)).count(), found.len() - 1);
        let found = files(&environment(&[("HOME", "/home/a"), ("DOCKER_CONFIG", "/c")]), "compose");
        assert_eq!(found[1], Path::new("/c/cli-plugins/docker-compose"));
        assert!(files(&environment(&[]), "compose").iter().all(|file| file.ends_with("cli-plugins/docker-compose")));
    }
}
