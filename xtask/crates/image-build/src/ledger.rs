//! What the builder can do, asked once per build: each feature is on, off because of something, or refused when asked for.

use anyhow::Result;
use serde_json::{Map, Value};
use xshell::{Shell, cmd};

use xtask_engine::Ready;
use xtask_engine::Version;
use xtask_outcome::Stop;
use xtask_workspace::Context;

use super::plan::BuildPlan;

const QUERY_LIMIT_SECONDS: u64 = 60;
const STORE_FORMAT: &str = "{{json .DriverStatus}}";
/// How `docker info` tells that images are kept by containerd.
const CONTAINERD_STORE: &str = "io.containerd.snapshotter";
/// The first BuildKit that takes an image's times from SOURCE_DATE_EPOCH.
const SETS_TIMES: &str = "0.11";
/// What a BuildKit that was built without its version calls itself.
const NO_VERSION: &str = "0.0.0";

/// The facts about the builder and the engine that decide features.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Builder {
    /// `docker` for the engine's own BuildKit; `docker-container`, `kubernetes`, `remote` for others (BUILDX_BUILDER).
    pub(crate) driver: String,
    pub(crate) buildkit: String,
    /// Such as `linux/amd64`; foreign ones are there when the machine can emulate them.
    pub(crate) platforms: Vec<String>,
    /// The engine keeps images in containerd: an image can be an index, with attestations beside the layers.
    pub(crate) containerd_store: bool,
}

/// On, or why not.
type Feature = Result<(), String>;

impl Builder {
    /// # Errors
    /// [`Stop::Broken`] when the builder does not answer.
    pub(crate) fn ask(context: &Context, ready: &Ready) -> Result<Self> {
        let shell = Shell::new()?;
        let (buildx, plugin) = (&ready.buildx.program, &ready.buildx.arguments);
        let runner = &context.runner;
        let inspected = runner.capture(cmd!(shell, "{buildx} {plugin...} inspect"), QUERY_LIMIT_SECONDS)?;
        if !inspected.status.success() {
            let text = format!("the builder does not answer ({}); next: `docker buildx ls`", inspected.tail());
            return Err(Stop::Broken(text).into());
        }
        let docker = &ready.docker.program;
        let store = runner.read(cmd!(shell, "{docker} info --format {STORE_FORMAT}"), QUERY_LIMIT_SECONDS)?;
        Ok(Self::from_words(&inspected.stdout, &store))
    }

    fn from_words(inspected: &str, store: &str) -> Self {
        let field = |name: &str| inspected.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
        let platforms = field("Platforms:").split(',').map(|name| name.trim().trim_end_matches('*').to_owned());
        Self {
            driver: field("Driver:").to_owned(),
            buildkit: field("BuildKit version:").to_owned(),
            platforms: platforms.filter(|name| !name.is_empty()).collect(),
            containerd_store: store.contains(CONTAINERD_STORE),
        }
    }

    fn engines_own(&self) -> bool {
        self.driver == "docker"
    }

    /// `--cache`: exporting one takes more than the engine's own builder has with its own image store.
    pub(crate) fn cache(&self) -> Feature {
        if self.engines_own() && !self.containerd_store {
            return Err("the engine's own builder exports no cache without the containerd image store; next: turn that store on, or \
                        `docker buildx create --driver docker-container --use`"
                .to_owned());
        }
        Ok(())
    }

    /// The list of contents as a statement beside the image. The scanner that makes it is an image that the builder pulls by a
    /// moving tag and runs, and on an image that holds one program it sees no more than trivy does.
    #[expect(clippy::unused_self, reason = "a feature like the others, although no builder changes the answer")]
    fn contents(&self) -> Feature {
        Err("BuildKit would pull and run a scanner that nothing pins; `cargo xtask push` stores trivy's list instead"
            .to_owned())
    }

    /// How an image was made, as a statement beside it.
    pub(crate) fn provenance(&self) -> Feature {
        if self.containerd_store { Ok(()) } else { Err("the engine's image store holds no attestation".to_owned()) }
    }

    /// Image times that are the revision's, so that the same inputs give the same image id.
    pub(crate) fn fixed_times(&self) -> Feature {
        let rest = "the program and its layer repeat all the same";
        if self.engines_own() && !self.containerd_store {
            return Err(format!("the engine's own builder sets no times without the containerd image store; {rest}"));
        }
        match (Version::find(&self.buildkit), Version::find(SETS_TIMES), Version::find(NO_VERSION)) {
            (Some(own), Some(first), unknown) if own < first && Some(own) != unknown => Err(format!(
                "BuildKit {own} is older than {first}, the first to take them from SOURCE_DATE_EPOCH; {rest}"
            )),
            _ => Ok(()),
        }
    }

    /// `--platform`: what the builder lists it builds, natively or emulated.
    pub(crate) fn platform(&self, wanted: &str) -> Feature {
        if self.platforms.iter().any(|platform| platform == wanted) {
            return Ok(());
        }
        Err(format!(
            "this builder builds {}; next: an engine with emulation for it, or a builder of that platform in BUILDX_BUILDER",
            self.platforms.join(", ")
        ))
    }

    /// The ledger, for the report.
    pub(crate) fn evidence(&self, plan: &BuildPlan) -> Value {
        let say = |feature: Feature| feature.map_or_else(|why| format!("off because {why}"), |()| "on".to_owned());
        let rows = [
            ("driver", format!("{} (BuildKit {})", self.driver, self.buildkit)),
            ("image store", if self.containerd_store { "containerd" } else { "the engine's own" }.to_owned()),
            ("cache export", say(self.cache())),
            ("provenance", say(self.provenance())),
            ("list of contents", say(self.contents())),
            ("times of the revision", say(self.fixed_times())),
            ("platforms", self.platforms.join(", ")),
            (
                "certificate authority",
                plan.ca_file.as_ref().map_or("the builder's own", |_| "as a build secret").to_owned(),
            ),
            ("proxies", if plan.proxies.is_empty() { "none".to_owned() } else { plan.proxies.join(", ") }),
        ];
        rows.into_iter().map(|(key, value)| (key.to_owned(), Value::from(value))).collect::<Map<_, _>>().into()
    }
}

/// Refuses what was asked for by flag and cannot be done.
pub(crate) fn demand(flag: &str, feature: Feature) -> Result<()> {
    feature.map_err(|why| Stop::Broken(format!("{flag} refused: {why}")).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTAINERD: &str = r#"[["driver-type","io.containerd.snapshotter.v1"]]"#;
    const OLD: &str = "Name:          default\nDriver:        docker\n\nNodes:\nName:             default\nStatus:           running\nBuildKit version: v0.8+unknown\nPlatforms:        linux/amd64, linux/386\n";

    #[test]
    fn the_engines_own_builder_of_20_10_can_do_none_of_it() {
        let builder = Builder::from_words(OLD, "[[\"Backing Filesystem\",\"extfs\"]]");
        assert_eq!((builder.driver.as_str(), builder.buildkit.as_str()), ("docker", "v0.8+unknown"));
        assert!(builder.cache().is_err() && builder.provenance().is_err() && builder.fixed_times().is_err());
        builder.platform("linux/amd64").unwrap();
        let why = builder.platform("linux/arm64").unwrap_err();
        assert!(why.contains("linux/amd64, linux/386") && why.contains("BUILDX_BUILDER"), "{why}");
        let error = demand("--cache", builder.cache()).unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(Stop::Broken(text)) if text.starts_with("--cache refused: ")));
    }

    #[test]
    fn with_the_containerd_store_all_of_it_is_on() {
        let builder = Builder::from_words(&OLD.replace("v0.8+unknown", "v0.25.1"), CONTAINERD);
        assert!(builder.cache().is_ok() && builder.provenance().is_ok() && builder.fixed_times().is_ok());
        let evidence = builder.evidence(&super::super::plan::tests::plan());
        assert_eq!(
            (&evidence["provenance"], &evidence["certificate authority"], &evidence["proxies"]),
            (&"on".into(), &"as a build secret".into(), &"HTTPS_PROXY".into())
        );
        assert!(evidence["list of contents"].as_str().unwrap().starts_with("off because BuildKit would pull"));
    }

    #[test]
    fn a_builder_in_a_container_keeps_a_cache_and_the_engine_keeps_no_attestation() {
        for driver in ["docker-container", "kubernetes", "remote"] {
            let words =
                OLD.replace("Driver:        docker", &format!("Driver:        {driver}")).replace("v0.8", "v0.25.1");
            let builder = Builder::from_words(&words, "null");
            assert!(
                builder.cache().is_ok() && builder.fixed_times().is_ok() && builder.provenance().is_err(),
                "{driver}"
            );
        }
    }

    #[test]
    fn times_are_set_by_a_buildkit_that_can_or_that_does_not_say_how_old_it_is() {
        for (version, on) in [("v0.10.6", false), ("v0.11.0", true), ("v0.0.0+unknown", true), ("dev", true)] {
            let builder = Builder::from_words(&OLD.replace("v0.8+unknown", version), CONTAINERD);
            assert_eq!(builder.fixed_times().is_ok(), on, "{version}");
        }
    }

    #[test]
    fn a_platform_that_the_builder_prefers_is_marked_and_meant_all_the_same() {
        let words = OLD.replace("linux/386", "linux/arm64*");
        Builder::from_words(&words, "").platform("linux/arm64").unwrap();
    }
}
