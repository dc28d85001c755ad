//! The build as a plain value: which images, from what, with which arguments; and the same as a bake file.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use serde_json::{Value, json};

use super::cache::Cache;
use super::inputs::Revision;

/// Where the program is compiled. All end in the same runtime stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strategy {
    /// Inside the builder image: what ships.
    Container,
    /// With the developer's own cargo: seconds after an edit.
    Host,
    /// The same with cargo's dev profile, which compiles incrementally: for `up` alone. Such an image is not judged.
    Dev,
}

impl Strategy {
    const ALL: [Self; 3] = [Self::Container, Self::Host, Self::Dev];

    /// `container`, `host` or `dev`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Host => "host",
            Self::Dev => "dev",
        }
    }

    /// As people read it.
    pub(crate) fn compiled_where(self) -> &'static str {
        match self {
            Self::Container => "compiled in the builder container",
            Self::Host => "compiled on this machine",
            Self::Dev => "compiled on this machine with the dev profile",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|strategy| strategy.name() == name)
    }

    pub(crate) fn all() -> [Self; 3] {
        Self::ALL
    }

    /// The Dockerfiles' build argument.
    fn argument(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Host | Self::Dev => "host",
        }
    }
}

/// Which strategy an image is built by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// This one, and from now on by everybody who takes what is built.
    By(Strategy),
    /// The one by which it was built last; the container's for one that never was.
    AsBuilt {
        /// Also what the dev profile built. Without it such an image is built by the container.
        dev: bool,
    },
}

/// One image to build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImagePlan {
    /// `user`.
    pub(crate) name: String,
    /// `shop-cart`: package, program and title.
    pub(crate) package: String,
    /// `shop-cart:local`.
    pub(crate) tag: String,
    /// The file with its contract, for a program that does not print one.
    pub(crate) contract: Option<Utf8PathBuf>,
    pub(crate) dockerfile: Utf8PathBuf,
    pub(crate) revision: Revision,
    /// The version of its package.
    pub(crate) version: String,
    /// Where its source lives, if that is known.
    pub(crate) source: Option<String>,
}

/// All of one build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BuildPlan {
    pub(crate) strategy: Strategy,
    /// What the Dockerfiles may copy from: the root, or the folder of programs that the host compiled.
    pub(crate) context: Utf8PathBuf,
    /// The copy of the inputs, Dockerfiles included.
    pub(crate) inputs: Utf8PathBuf,
    pub(crate) images: Vec<ImagePlan>,
    /// The build argument that names the builder base, and the base.
    pub(crate) base: (String, String),
    /// A certificate authority that the container must trust, handed over as a secret so that no layer holds it.
    pub(crate) ca_file: Option<Utf8PathBuf>,
    /// Names of proxy variables; bake takes the values from its own environment.
    pub(crate) proxies: Vec<&'static str>,
    /// Ask the registry for a newer base; never set for a base that only this machine has.
    pub(crate) pull: bool,
    pub(crate) no_cache: bool,
    /// Where layers are read from and, unless `cache_read_only`, written to.
    pub(crate) cache: Option<Cache>,
    pub(crate) cache_read_only: bool,
    /// `linux/arm64`; `None` is the builder's own.
    pub(crate) platform: Option<String>,
    /// What follows is what the builder can do.
    pub(crate) builder_asked: bool,
    /// A statement of how the image was made goes beside it.
    pub(crate) provenance: bool,
    /// All times in the image are the revision's: the same inputs give the same image id.
    pub(crate) fixed_times: bool,
}

impl BuildPlan {
    /// The bake file. It holds names and paths only: no value of a proxy, no content of a secret.
    pub(crate) fn bake_file(&self) -> Value {
        let variables: BTreeMap<_, _> = self.proxies.iter().map(|name| (*name, json!({ "default": "" }))).collect();
        let targets: BTreeMap<_, _> =
            self.images.iter().map(|image| (image.name.clone(), self.target(image))).collect();
        let mut file = json!({
            "group": { "default": { "targets": targets.keys().collect::<Vec<_>>() } },
            "target": targets,
        });
        // Bake refuses an empty block.
        if !variables.is_empty() {
            file["variable"] = json!(variables);
        }
        file
    }

    fn target(&self, image: &ImagePlan) -> Value {
        let mut arguments = BTreeMap::from([
            (self.base.0.clone(), self.base.1.clone()),
            ("STRATEGY".to_owned(), self.strategy.argument().to_owned()),
            ("IMAGE_REVISION".to_owned(), image.revision.id.clone()),
            ("IMAGE_CREATED".to_owned(), image.revision.created.clone()),
            ("IMAGE_VERSION".to_owned(), image.version.clone()),
        ]);
        arguments.extend(image.source.iter().map(|source| ("IMAGE_SOURCE".to_owned(), source.clone())));
        // Proxy arguments are known to the builder: they reach each RUN and neither the history nor the cache key.
        arguments.extend(self.proxies.iter().map(|name| ((*name).to_owned(), format!("${{{name}}}"))));
        let mut target = json!({
            "context": self.context,
            "dockerfile": image.dockerfile,
            "tags": [image.tag],
            "args": arguments,
            // Said outright, so that a builder in a container loads its result, too.
            "output": ["type=docker"],
            "pull": self.pull,
            "no-cache": self.no_cache,
        });
        if let Some(ca_file) = &self.ca_file {
            target["secret"] = json!([format!("id=ca,src={ca_file}")]);
        }
        if let Some(platform) = &self.platform {
            target["platforms"] = json!([platform]);
        }
        // Times in the image's configuration; those of its one file are fixed by the Dockerfile. (The exporter's
        // `rewrite-timestamp` would do both and is refused where the engine unpacks what it is given.)
        if self.fixed_times {
            target["args"]["SOURCE_DATE_EPOCH"] = json!(image.revision.epoch.to_string());
        }
        // Of the least kind: the fuller one holds the values of build arguments. A builder that knows statements adds one
        // by itself unless it is told not to; an old one is asked for nothing.
        if self.provenance {
            target["attest"] = json!(["type=provenance,mode=min"]);
        } else if self.fixed_times {
            target["attest"] = json!(["type=provenance,disabled=true"]);
        }
        if let Some(cache) = &self.cache {
            target["cache-from"] = cache.from(&image.name, &image.package).into_iter().collect();
            if !self.cache_read_only {
                target["cache-to"] = json!([cache.to(&image.name, &image.package)]);
            }
        }
        target
    }

    /// What will be done, for `--dry-run` and before the work begins.
    pub(crate) fn describe(&self) -> Vec<String> {
        let describe = |image: &ImagePlan| {
            format!(
                "{} from {} ({} on {}), revision {}",
                image.tag,
                image.dockerfile,
                self.strategy.name(),
                self.base.1,
                image.revision.id
            )
        };
        self.images.iter().map(describe).collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn plan() -> BuildPlan {
        BuildPlan {
            strategy: Strategy::Container,
            context: "/a b/shop".into(),
            inputs: "/a b/shop".into(),
            images: vec![ImagePlan {
                name: "user".into(),
                package: "mini-user".into(),
                tag: "mini-user:local".into(),
                contract: None,
                dockerfile: "/a b/shop/services/user/Dockerfile".into(),
                revision: Revision {
                    id: "abc-dirty".into(),
                    created: "2026-01-01T00:00:00Z".into(),
                    epoch: 1_767_225_600,
                },
                version: "0.1.0".into(),
                source: Some("https://host.example/shop".into()),
            }],
            base: ("RUST_BASE".into(), "mini-base/rust:local".into()),
            ca_file: Some("/a b/shop/target/xtask/ca.pem".into()),
            proxies: vec!["HTTPS_PROXY"],
            pull: false,
            no_cache: false,
            cache: None,
            cache_read_only: false,
            platform: None,
            builder_asked: false,
            provenance: false,
            fixed_times: false,
        }
    }

    #[test]
    fn the_bake_file_loads_its_images_and_names_the_base() {
        let bake = plan().bake_file();
        let user = &bake["target"]["user"];
        assert_eq!(user["output"], json!(["type=docker"]));
        assert_eq!(user["args"]["RUST_BASE"], "mini-base/rust:local");
        assert_eq!(user["args"]["IMAGE_REVISION"], "abc-dirty");
        assert_eq!(user["args"]["IMAGE_SOURCE"], "https://host.example/shop");
        assert_eq!(user["secret"], json!(["id=ca,src=/a b/shop/target/xtask/ca.pem"]));
        assert_eq!(bake["group"]["default"]["targets"], json!(["user"]));
    }

    #[test]
    fn a_proxy_is_named_and_its_value_left_to_the_environment() {
        let bake = plan().bake_file();
        assert_eq!(bake["variable"]["HTTPS_PROXY"]["default"], "");
        assert_eq!(bake["target"]["user"]["args"]["HTTPS_PROXY"], "${HTTPS_PROXY}");
    }

    #[test]
    fn what_an_old_builder_does_not_know_is_not_asked_of_it() {
        let user = &plan().bake_file()["target"]["user"];
        for key in ["platforms", "attest", "cache-from", "cache-to"] {
            assert_eq!(user[key], Value::Null, "{key}");
        }
        assert_eq!(user["args"]["SOURCE_DATE_EPOCH"], Value::Null);
    }

    #[test]
    fn what_a_current_builder_can_do_is_asked_in_its_words() {
        let mut plan = plan();
        (plan.provenance, plan.fixed_times) = (true, true);
        plan.platform = Some("linux/arm64".to_owned());
        plan.cache = Some(Cache::Gha);
        let user = &plan.bake_file()["target"]["user"];
        assert_eq!(user["attest"], json!(["type=provenance,mode=min"]));
        assert_eq!(user["args"]["SOURCE_DATE_EPOCH"], "1767225600");
        assert_eq!(user["platforms"], json!(["linux/arm64"]));
        assert_eq!(user["cache-from"], json!(["type=gha,scope=mini-user"]));
        assert_eq!(user["cache-to"], json!(["type=gha,scope=mini-user,mode=max"]));
        plan.cache_read_only = true;
        plan.provenance = false;
        let user = &plan.bake_file()["target"]["user"];
        assert_eq!(user["cache-to"], Value::Null);
        assert_eq!(user["attest"], json!(["type=provenance,disabled=true"]));
    }

    #[test]
    fn one_target_per_tag() {
        let bake = plan().bake_file();
        let tags: Vec<_> =
            bake["target"].as_object().unwrap().values().map(|target| target["tags"].to_string()).collect();
        let unique: std::collections::BTreeSet<_> = tags.iter().collect();
        assert_eq!(tags.len(), unique.len());
    }
}
