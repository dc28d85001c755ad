//! `--cache REF`: where layers are kept between machines. Each image has a scope of its own, so that one does not push out another.

use std::str::FromStr;

use camino::Utf8PathBuf;

/// A place that a builder can read layers from and write them to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cache {
    /// A repository; the image's name becomes the tag.
    Registry(String),
    /// A folder on this machine, one below it for each image.
    Folder(Utf8PathBuf),
    /// The cache of GitHub Actions, which the job's own runtime token opens.
    Gha,
}

impl FromStr for Cache {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once("type=") {
            None => repository(text).map(Self::Registry),
            Some(("", "gha")) => Ok(Self::Gha),
            Some(("", rest)) => match rest.split_once(',') {
                Some(("local", option)) if option.len() > "dir=".len() && option.starts_with("dir=") => {
                    Ok(Self::Folder(option["dir=".len()..].into()))
                }
                _ => Err("give a repository, type=local,dir=DIR or type=gha".to_owned()),
            },
            Some(_) => Err("give a repository, type=local,dir=DIR or type=gha".to_owned()),
        }
    }
}

/// `registry.example/team/cache`: a name without a tag, since the tag is the image's.
fn repository(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-/:".contains(c);
    let (host, name) = text.split_once('/').ok_or("a repository has a registry and a name: registry.example/cache")?;
    if host.is_empty() || name.is_empty() || !text.chars().all(allowed) {
        return Err("a repository is lower-case letters, digits, `.`, `_`, `-`: registry.example/team/cache".to_owned());
    }
    if name.contains(':') {
        return Err("give the repository without a tag; the tag is the image's name".to_owned());
    }
    Ok(text.to_owned())
}

impl Cache {
    /// Whether the place can be used at all. buildx leaves `type=gha` out without a word where the job's token is not set.
    pub(crate) fn open(&self, actions_cache: bool) -> Result<(), String> {
        if *self == Self::Gha && !actions_cache {
            return Err(
                "ACTIONS_RUNTIME_TOKEN and ACTIONS_RESULTS_URL are not set, and without them nothing is kept; next: \
                        export them in the job, see docs/deployment.md"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// The entry that a builder reads from; `None` while there is nothing to read.
    pub(super) fn from(&self, image: &str, package: &str) -> Option<String> {
        match self {
            Self::Registry(repository) => Some(format!("type=registry,ref={repository}:{image}")),
            Self::Folder(folder) => {
                let folder = folder.join(image);
                folder.join("index.json").is_file().then(|| format!("type=local,src={folder}"))
            }
            Self::Gha => Some(format!("type=gha,scope={package}")),
        }
    }

    /// The entry that a builder writes to: every stage, not only the last one's layers.
    pub(super) fn to(&self, image: &str, package: &str) -> String {
        match self {
            Self::Registry(repository) => format!("type=registry,ref={repository}:{image},mode=max"),
            Self::Folder(folder) => format!("type=local,dest={},mode=max", folder.join(image)),
            Self::Gha => format!("type=gha,scope={package},mode=max"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_one_scope_per_image() {
        let registry: Cache = "registry.example:5000/team/cache".parse().unwrap();
        assert_eq!(
            registry.from("user", "mini-user").unwrap(),
            "type=registry,ref=registry.example:5000/team/cache:user"
        );
        assert_eq!(
            registry.to("user", "mini-user"),
            "type=registry,ref=registry.example:5000/team/cache:user,mode=max"
        );
        let gha: Cache = "type=gha".parse().unwrap();
        assert_eq!(
            (gha.from("order", "mini-order").unwrap(), gha.to("order", "mini-order")),
            ("type=gha,scope=mini-order".into(), "type=gha,scope=mini-order,mode=max".into())
        );
        let folder = tempfile::tempdir().unwrap();
        let cache: Cache = format!("type=local,dir={}", folder.path().display()).parse().unwrap();
        assert_eq!(cache.from("user", "mini-user"), None);
        std::fs::create_dir_all(folder.path().join("user")).unwrap();
        std::fs::write(folder.path().join("user/index.json"), "{}").unwrap();
        assert_eq!(
            cache.from("user", "mini-user").unwrap(),
            format!("type=local,src={}/user", folder.path().display())
        );
        assert_eq!(cache.to("user", "mini-user"), format!("type=local,dest={}/user,mode=max", folder.path().display()));
    }

    #[test]
    fn githubs_cache_is_refused_where_no_token_opens_it() {
        assert!(Cache::Gha.open(false).unwrap_err().contains("ACTIONS_RUNTIME_TOKEN"));
        Cache::Gha.open(true).unwrap();
        Cache::Folder("/cache".into()).open(false).unwrap();
    }

    #[test]
    fn what_is_no_place_is_refused_with_the_form() {
        for text in [
            "",
            "cache",
            "/cache",
            "registry.example/",
            "registry.example/Cache",
            "type=local",
            "type=local,dir=",
            "type=s3,bucket=x",
            "x,type=gha",
        ] {
            assert!(text.parse::<Cache>().is_err(), "{text}");
        }
        assert!("registry.example/cache:tag".parse::<Cache>().unwrap_err().contains("without a tag"));
    }
}
