//! One folder with everything that trivy checks as configuration: the Dockerfiles, what the images themselves are set to, and the
//! Kubernetes manifests as they are rendered.
//!
//! trivy loads its checks anew in each process, which takes longer than looking at an image. One run over one folder keeps
//! four images as fast as one.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hasher as _};

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;

use super::report::{Report, Target};
use super::trivy::Subject;

/// Files to check, by the unit that each is about.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Configurations {
    files: BTreeMap<String, File>,
    /// What could not be had, and why.
    pub(super) missing: Vec<(String, String)>,
}

/// trivy tells by its name what a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct File {
    name: &'static str,
    text: String,
}

const DOCKERFILE: &str = "Dockerfile";
const MANIFEST: &str = "manifest.yaml";

impl Configurations {
    /// A Dockerfile of the repository, called by its path.
    pub(super) fn add_dockerfile(&mut self, root: &Utf8Path, path: &Utf8Path) -> Result<()> {
        let text = std::fs::read_to_string(root.join(path)).with_context(|| format!("read {path}"))?;
        self.files.insert(path.to_string(), File { name: DOCKERFILE, text });
        Ok(())
    }

    /// What an image is set to, as the last stage of a Dockerfile that would set the same. No value of a variable is in it.
    pub(super) fn add_image(&mut self, unit: &str, config: &Value) {
        self.files.insert(unit.to_owned(), File { name: DOCKERFILE, text: as_dockerfile(config) });
    }

    /// What is deployed from a folder, or why nobody knows.
    pub(super) fn add_manifests(&mut self, folder: &str, rendered: Result<String>) {
        match rendered {
            Ok(text) => drop(self.files.insert(folder.to_owned(), File { name: MANIFEST, text })),
            Err(why) => self.missing.push((folder.to_owned(), format!("{why:#}"))),
        }
    }

    /// Whether the lines of a unit are those of a file of the repository.
    pub(super) fn has_lines(&self, unit: &str) -> bool {
        self.files.get(unit).is_some_and(|file| file.name == DOCKERFILE)
    }

    pub(super) fn units(&self) -> impl Iterator<Item = &String> {
        self.files.keys()
    }

    /// Writes the folder; the caller deletes it.
    pub(super) fn stage(&self, folder: &Utf8Path) -> Result<Subject> {
        let mut hasher = DefaultHasher::new();
        for (index, (unit, File { name, text })) in self.files.iter().enumerate() {
            hasher.write(unit.as_bytes());
            hasher.write_usize(text.len());
            hasher.write(text.as_bytes());
            let place = folder.join(index.to_string());
            std::fs::create_dir_all(&place).with_context(|| format!("make the folder {place}"))?;
            std::fs::write(place.join(name), text).with_context(|| format!("write into {place}"))?;
        }
        Ok(Subject::Configuration { folder: folder.to_owned(), content: format!("{:016x}", hasher.finish()) })
    }

    /// Takes trivy's report apart again: one report per unit. A unit that trivy does not mention was not checked.
    pub(super) fn reports(&self, report: &Report) -> BTreeMap<String, Option<Report>> {
        let of = |index: usize, file: &File| {
            let place = Utf8PathBuf::from(index.to_string()).join(file.name);
            let targets: Vec<Target> = report.targets.iter().filter(|target| target.name == place).cloned().collect();
            (!targets.is_empty()).then(|| Report { targets, ..Report::default() })
        };
        self.files.iter().enumerate().map(|(index, (unit, file))| (unit.clone(), of(index, file))).collect()
    }
}

fn as_dockerfile(config: &Value) -> String {
    let mut text = "FROM scratch\n".to_owned();
    let words = |pointer: &str| -> Vec<&str> {
        config
            .pointer(pointer)
            .and_then(Value::as_array)
            .map(|list| list.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default()
    };
    for variable in words("/Env") {
        let name = variable.split('=').next().unwrap_or_default();
        let _ = writeln!(text, "ENV {name}=set");
    }
    if let Some(ports) = config.get("ExposedPorts").and_then(Value::as_object) {
        for port in ports.keys() {
            let _ = writeln!(text, "EXPOSE {port}");
        }
    }
    if words("/Healthcheck/Test").first().is_some_and(|form| *form != "NONE") {
        text.push_str("HEALTHCHECK CMD [\"healthcheck\"]\n");
    }
    if let Some(user) = config.get("User").and_then(Value::as_str).filter(|user| !user.is_empty()) {
        let _ = writeln!(text, "USER {user}");
    }
    text.push_str("ENTRYPOINT [\"program\"]\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use xtask_outcome::Stop;

    #[test]
    fn an_images_settings_are_written_without_any_value() {
        let config = json!({
            "Env": ["PATH=/bin", "API_TOKEN=S3CR3T-c4n4ry"], "ExposedPorts": { "8080/tcp": {} },
            "Healthcheck": { "Test": ["CMD", "/x", "S3CR3T-c4n4ry"] }, "User": "65532:65532", "Entrypoint": ["/x", "S3CR3T-c4n4ry"],
        });
        assert_eq!(
            as_dockerfile(&config),
            "FROM scratch\nENV PATH=set\nENV API_TOKEN=set\nEXPOSE 8080/tcp\nHEALTHCHECK CMD [\"healthcheck\"]\nUSER 65532:65532\nENTRYPOINT [\"program\"]\n"
        );
        assert_eq!(as_dockerfile(&json!({ "Env": null, "User": "" })), "FROM scratch\nENTRYPOINT [\"program\"]\n");
        assert!(!as_dockerfile(&json!({ "Healthcheck": { "Test": ["NONE"] } })).contains("HEALTHCHECK"));
    }

    #[test]
    fn a_unit_that_the_report_does_not_mention_was_not_checked() {
        let mut configurations = Configurations::default();
        configurations.add_image("user", &json!({}));
        configurations.add_image("order", &json!({}));
        let report =
            Report { targets: vec![Target { name: "1/Dockerfile".into(), ..Target::default() }], ..Report::default() };
        let reports = configurations.reports(&report);
        assert!(reports["user"].is_some() && reports["order"].is_none(), "{reports:?}");
    }

    #[test]
    fn manifests_are_a_unit_without_lines_and_one_that_cannot_be_had_is_named() {
        let mut configurations = Configurations::default();
        configurations.add_manifests("k8s/a", Ok("kind: Namespace\n".to_owned()));
        configurations.add_manifests("k8s/b", Err(Stop::Absent("no kubectl".into()).into()));
        let target = Target { name: "0/manifest.yaml".into(), ..Target::default() };
        let reports = configurations.reports(&Report { targets: vec![target], ..Report::default() });
        assert!(reports["k8s/a"].is_some() && !configurations.has_lines("k8s/a"), "{reports:?}");
        assert_eq!(configurations.missing, [("k8s/b".to_owned(), "no kubectl".to_owned())]);
    }

    #[test]
    fn another_content_is_another_subject() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        let stage = |user: &str| {
            let mut configurations = Configurations::default();
            configurations.add_image("user", &json!({ "User": user }));
            configurations.stage(folder).unwrap()
        };
        assert_eq!(stage("1"), stage("1"));
        assert_ne!(stage("1"), stage("2"));
    }
}
