//! An overlay as this run applies it: kustomize itself changes the namespace, the labels, the images and, for a home-made
//! neighbour, the user.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use camino::Utf8Path;
use serde_json::{Value, json};
use xtask_engine::kustomize;
use xtask_outcome::Stop;
use xtask_workspace::Context;

/// The label of everything that a run makes; its value is the run's name.
pub(crate) const RUN_LABEL: &str = "xtask.run";
/// Which checkout made it.
pub(crate) const CHECKOUT_LABEL: &str = "xtask.checkout";

/// What is changed in an overlay.
#[derive(Debug)]
pub(crate) struct Changes<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) run: &'a str,
    pub(crate) checkout: &'a str,
    /// The repository in the manifests (`shop-cart`) → repository and tag or digest.
    pub(crate) images: &'a BTreeMap<String, ImageName>,
    /// The workloads that run a home-made image, each with user and group of its program: the manifests have the usual one's.
    pub(crate) users: &'a BTreeMap<String, (u32, u32)>,
}

/// Where an image is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImageName {
    pub(crate) repository: String,
    /// `:tag` or `@sha256:…`, without the sign.
    pub(crate) version: Version,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Version {
    Tag(String),
    Digest(String),
}

/// The manifests' own image references, and where each stands: `image: X` of the rendering.
pub(crate) fn repositories(rendered: &str) -> Vec<String> {
    let lines = rendered.lines().filter_map(|line| line.trim_start().trim_start_matches("- ").strip_prefix("image: "));
    let mut found: Vec<_> = lines.map(|image| repository(image.trim().trim_matches(['"', '\'']))).collect();
    found.sort();
    found.dedup();
    found
}

/// `registry.example:5000/shop-cart:1@sha256:…` → `registry.example:5000/shop-cart`.
pub(crate) fn repository(image: &str) -> String {
    let image = image.split('@').next().unwrap_or_default();
    match image.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository.to_owned(),
        _ => image.to_owned(),
    }
}

/// Renders an overlay with the changes. `folder` is where the run keeps its own kustomization; it lies below the root.
///
/// # Errors
/// As [`kustomize`].
pub(crate) fn render(context: &Context, overlay: &str, folder: &Utf8Path, changes: &Changes<'_>) -> Result<String> {
    let relative = folder.strip_prefix(&context.project.root).with_context(|| format!("{folder} is below the root"))?;
    let up = "../".repeat(relative.components().count());
    std::fs::create_dir_all(folder).with_context(|| format!("create {folder}"))?;
    let file = folder.join("kustomization.yaml");
    std::fs::write(&file, kustomization(&format!("{up}{overlay}"), changes).to_string())
        .with_context(|| format!("write {file}"))?;
    kustomize(context, relative.as_str())
}

fn kustomization(resource: &str, changes: &Changes<'_>) -> Value {
    let image = |(name, image): (&String, &ImageName)| match &image.version {
        Version::Tag(tag) => json!({ "name": name, "newName": image.repository, "newTag": tag }),
        Version::Digest(digest) => json!({ "name": name, "newName": image.repository, "digest": digest }),
    };
    let patch = |(workload, (user, group)): (&String, &(u32, u32))| {
        let security = "/spec/template/spec/securityContext";
        let set =
            |key: &str, value: &u32| json!({ "op": "replace", "path": format!("{security}/{key}"), "value": value });
        let operations = json!([set("runAsUser", user), set("runAsGroup", group), set("fsGroup", group)]);
        json!({ "target": { "kind": "StatefulSet", "name": workload }, "patch": operations.to_string() })
    };
    json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": changes.namespace,
        "resources": [resource],
        "labels": [{ "pairs": { RUN_LABEL: changes.run, CHECKOUT_LABEL: changes.checkout }, "includeSelectors": false }],
        "images": changes.images.iter().map(image).collect::<Vec<_>>(),
        "patches": changes.users.iter().map(patch).collect::<Vec<_>>(),
    })
}

/// Each `Warning:` of a server-side dry run, without the word.
pub(crate) fn warnings(stderr: &str) -> Vec<String> {
    let lines = stderr.lines().filter_map(|line| line.strip_prefix("Warning: "));
    lines.map(|line| line.trim().to_owned()).collect()
}

/// What an image reference names: `repository@digest` or `repository:tag`.
///
/// # Errors
/// [`Stop::Repository`] when it is neither.
pub(crate) fn image_name(reference: &str) -> Result<ImageName> {
    let repository = repository(reference);
    if let Some((_, digest)) = reference.split_once('@') {
        return Ok(ImageName { repository, version: Version::Digest(digest.to_owned()) });
    }
    let tag = reference.strip_prefix(&repository).and_then(|rest| rest.strip_prefix(':'));
    let tag = tag.ok_or_else(|| Stop::Repository(format!("`{reference}` names neither a tag nor a digest")))?;
    Ok(ImageName { repository, version: Version::Tag(tag.to_owned()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_reference_is_read_with_ports_tags_and_digests() {
        for (image, wanted) in [
            ("shop:local", "shop"),
            ("registry.example:5000/shop", "registry.example:5000/shop"),
            ("registry.example:5000/shop:1", "registry.example:5000/shop"),
            ("registry.example/shop:1@sha256:ab", "registry.example/shop"),
        ] {
            assert_eq!(repository(image), wanted, "{image}");
        }
        let rendered = "      - image: shop:local\n        image: db:17\n      image: shop:local\n";
        assert_eq!(repositories(rendered), ["db", "shop"]);
        assert_eq!(image_name("r.example/shop@sha256:ab").unwrap().version, Version::Digest("sha256:ab".into()));
        assert_eq!(image_name("r.example:5/shop:1").unwrap().version, Version::Tag("1".into()));
        assert!(image_name("shop").is_err());
    }

    #[test]
    fn only_lines_that_begin_as_kubectl_writes_them_are_warnings() {
        let told = "Warning: would violate PodSecurity \"restricted:latest\"\nnamespace/shop created (server dry run)\nerror: Warning: no\n";
        assert_eq!(warnings(told), ["would violate PodSecurity \"restricted:latest\""]);
    }

    #[test]
    fn the_user_of_a_home_made_neighbour_is_patched_and_that_of_the_official_one_stays() {
        let images = BTreeMap::from([("db".to_owned(), image_name("own/db:local").unwrap())]);
        let (own, none) = (BTreeMap::from([("cart-db".to_owned(), (100, 102))]), BTreeMap::new());
        let changes = |users| Changes { namespace: "n", run: "r", checkout: "c", images: &images, users };
        let official = kustomization("../x", &changes(&none));
        let own = kustomization("../x", &changes(&own));
        let patch = own["patches"][0]["patch"].as_str().unwrap();
        assert!(patch.contains("\"value\":100") && patch.contains("/fsGroup"), "{patch}");
        assert_eq!(own["images"][0]["newTag"], "local");
        assert_eq!(own["patches"][0]["target"]["name"], "cart-db");
        assert_eq!(official["patches"], json!([]));
    }
}
