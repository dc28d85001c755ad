//! What a push does, as a plain value; and why it may not be done.

use super::registry::{Registry, Tags};
use super::tree::Tree;
use super::verified::Verified;
use xtask_outcome::Stop;

/// One image and what it is called in the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ImagePush {
    pub(super) name: String,
    pub(super) id: String,
    /// `registry.example/shop/mini-user`.
    pub(super) repository: String,
    pub(super) tags: Tags,
}

impl ImagePush {
    pub(super) fn of_all(verified: &Verified, registry: &Registry, tags: &Tags) -> Vec<Self> {
        let image = |image: &super::verified::VerifiedImage| Self {
            name: image.name.clone(),
            id: image.id.clone(),
            repository: registry.repository(&image.package),
            tags: tags.clone(),
        };
        verified.images.iter().map(image).collect()
    }

    /// The reference by which the image goes first, and by which it is read back.
    pub(super) fn by_revision(&self) -> String {
        format!("{}:{}", self.repository, self.tags.revision)
    }

    /// The references that move from an earlier push to this one.
    pub(super) fn moving(&self) -> Vec<String> {
        self.tags.moving.iter().map(|tag| format!("{}:{tag}", self.repository)).collect()
    }
}

/// The plan for people, one step a line: no tag that moves is pushed before all images are there and proved.
pub(super) fn describe(images: &[ImagePush]) -> Vec<String> {
    let first = images.iter().map(|image| format!("{} as {}", image.id, image.by_revision()));
    let then = images
        .iter()
        .flat_map(|image| image.moving().into_iter().map(move |reference| format!("{} as {reference}", image.id)));
    first.chain(then).collect()
}

/// Nothing but what the last `verify` saw is pushed, whole.
///
/// # Errors
/// [`Stop::Absent`]: refused, with what differs and the next step.
pub(super) fn admit(verified: &Verified, now: &Tree, allow_incomplete: bool) -> Result<(), Stop> {
    let refused = |why: String| Err(Stop::Absent(format!("refused: {why}")));
    if !now.changes.is_empty() {
        let text = now.described();
        return refused(format!(
            "the work tree differs from its commit ({text}); next: commit it and `cargo xtask verify`"
        ));
    }
    if now.head != verified.head {
        return refused(format!(
            "the commit {} is checked out and {} was verified; next: `cargo xtask verify`",
            now.head, verified.head
        ));
    }
    if !verified.changes.is_empty() {
        let then = Tree { head: String::new(), changes: verified.changes.clone() }.described();
        return refused(format!(
            "the work tree was verified with changes ({then}); next: `cargo xtask verify` of the commit itself"
        ));
    }
    if !verified.unchecked.is_empty() && !allow_incomplete {
        let missing: Vec<_> = verified.unchecked.iter().map(|u| format!("{} ({})", u.what, u.reason)).collect();
        return refused(format!(
            "the last `verify` was incomplete, not checked: {}; next: fix that and `cargo xtask verify`, or push with --allow-incomplete, which writes it into the lock",
            missing.join("; ")
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use xtask_outcome::Unchecked;

    fn verified() -> Verified {
        serde_json::from_value(json!({
            "schema": 1, "date": "2026-11-25", "head": "0123456789abcdef", "changes": [],
            "images": [
                { "name": "gateway", "package": "mini-gateway", "id": "sha256:g", "revision": "r" },
                { "name": "user", "package": "mini-user", "id": "sha256:u", "revision": "r" },
            ],
            "bases": {}, "tools": {}, "engine": "20.10.24", "database": null, "unchecked": [],
        }))
        .unwrap()
    }

    fn tree() -> Tree {
        Tree { head: "0123456789abcdef".into(), changes: Vec::new() }
    }

    fn why(verified: &Verified, now: &Tree) -> String {
        admit(verified, now, false).unwrap_err().to_string()
    }

    #[test]
    fn every_image_is_there_by_its_revision_before_any_tag_moves() {
        let tags = Tags { revision: "0123456789ab".into(), moving: vec!["0.1.0".into(), "main".into()] };
        let registry = Registry::parse("registry.example/shop").unwrap();
        let steps = describe(&ImagePush::of_all(&verified(), &registry, &tags));
        assert_eq!(
            steps,
            [
                "sha256:g as registry.example/shop/mini-gateway:0123456789ab",
                "sha256:u as registry.example/shop/mini-user:0123456789ab",
                "sha256:g as registry.example/shop/mini-gateway:0.1.0",
                "sha256:g as registry.example/shop/mini-gateway:main",
                "sha256:u as registry.example/shop/mini-user:0.1.0",
                "sha256:u as registry.example/shop/mini-user:main",
            ]
        );
    }

    #[test]
    fn what_was_verified_whole_from_a_clean_commit_is_admitted() {
        admit(&verified(), &tree(), false).unwrap();
    }

    #[test]
    fn a_dirty_tree_another_commit_and_a_dirty_verify_are_refused_by_name() {
        let dirty = Tree { changes: (0..7).map(|n| format!("M file{n}")).collect(), ..tree() };
        assert!(why(&verified(), &dirty).contains("M file4, and 2 more"), "{}", why(&verified(), &dirty));
        let other = Tree { head: "fedcba".into(), ..tree() };
        assert!(why(&verified(), &other).contains("fedcba is checked out and 0123456789abcdef was verified"));
        let then = Verified { changes: vec!["M Cargo.lock".into()], ..verified() };
        assert!(why(&then, &tree()).contains("verified with changes (M Cargo.lock)"));
    }

    #[test]
    fn an_incomplete_verify_ships_only_when_asked_for() {
        let unchecked = vec![Unchecked { what: "vulnerabilities".into(), reason: "there is no database".into() }];
        let incomplete = Verified { unchecked, ..verified() };
        assert!(why(&incomplete, &tree()).contains("vulnerabilities (there is no database)"));
        admit(&incomplete, &tree(), true).unwrap();
    }
}
