//! What a push does, as a plain value; and why it may not be done.

use anyhow::Result;

use super::registry::{Registry, SHORT_REVISION_CHARACTERS, Tags};
use super::standing::Standing;
use super::tree::Tree;
use super::verified::Verified;
use xtask_outcome::Stop;

/// The strategy whose images may be pushed.
const SHIPS: &str = "container";

/// One image and what it is called in the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ImagePush {
    pub(super) name: String,
    pub(super) id: String,
    /// `registry.example/team/shop-cart`.
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
        self.tags.moving.iter().map(|tag| self.tagged(tag)).collect()
    }

    pub(super) fn tagged(&self, tag: &str) -> String {
        format!("{}:{tag}", self.repository)
    }
}

/// What is done with one tag of a branch or version. All images of a push keep together: one that cannot move holds the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Move {
    /// To these images; the text says from where.
    Forward(String),
    /// Not at all; the text says why, and how to do it by hand.
    Stays(String),
}

/// A commit's tag never names two different images.
///
/// # Errors
/// [`Stop::Absent`] names every image that the registry has differently; nothing was pushed.
pub(super) fn refuse_other_images(images: &[ImagePush], standing: &[Standing]) -> Result<(), Stop> {
    let other = images.iter().zip(standing).filter_map(|(image, standing)| {
        let there = standing.revision.as_ref().filter(|there| !there.is(&image.id))?;
        Some(format!("{} is {} there and {} here", image.by_revision(), there.id, image.id))
    });
    let other: Vec<_> = other.collect();
    if other.is_empty() {
        return Ok(());
    }
    Err(Stop::Absent(format!(
        "refused: a commit's tag does not move, and the registry has other images under it: {}; next: deploy those (`cargo xtask verify-pushed` checks them), or push a new commit",
        other.join("; ")
    )))
}

/// Decides for one tag. `is_ancestor` says whether a commit is the one that is pushed or comes before it.
pub(super) fn move_of(
    tag: &str,
    images: &[ImagePush],
    standing: &[Standing],
    mut is_ancestor: impl FnMut(&str) -> Result<bool>,
) -> Result<Move> {
    let mut from = Vec::new();
    for (image, standing) in images.iter().zip(standing) {
        let Some(there) = standing.moving.get(tag).filter(|there| !there.is(&image.id)) else { continue };
        let reference = image.tagged(tag);
        let is_older = match &there.revision {
            Some(revision) => is_ancestor(revision)?,
            None => false,
        };
        if !is_older {
            let revision = there.revision.as_deref().unwrap_or("no commit that it names");
            return Ok(Move::Stays(format!(
                "{tag} stays where it is: {reference} was built from {revision}, which is not an ancestor of this commit; to move it back, `docker buildx imagetools create --tag {reference} {}@DIGEST` for each image",
                image.repository
            )));
        }
        from.extend(there.revision.iter().map(|revision| short(revision).to_owned()));
    }
    from.sort();
    from.dedup();
    let from = if from.is_empty() { String::new() } else { format!(", from images of {}", from.join(" and ")) };
    Ok(Move::Forward(format!("{tag} names the images of this commit{from}")))
}

fn short(revision: &str) -> &str {
    revision.get(..SHORT_REVISION_CHARACTERS).unwrap_or(revision)
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
    let by_host: Vec<_> =
        verified.images.iter().filter(|image| image.strategy != SHIPS).map(|image| image.name.as_str()).collect();
    if !by_host.is_empty() {
        return refused(format!(
            "{} was compiled on this machine and not by the container, which is what ships; next: `cargo xtask build-images`, then `cargo xtask verify`",
            by_host.join(", ")
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
    use crate::standing::{Digest, InRegistry};
    use serde_json::json;
    use xtask_outcome::Unchecked;

    fn verified() -> Verified {
        serde_json::from_value(json!({
            "schema": 2, "date": "2026-11-25", "head": "0123456789abcdef", "changes": [],
            "images": [
                { "name": "gateway", "package": "mini-gateway", "id": "sha256:g", "revision": "r", "inputs": "sha256:i", "strategy": "container" },
                { "name": "user", "package": "mini-user", "id": "sha256:u", "revision": "r", "inputs": "sha256:i", "strategy": "container" },
            ],
            "bases": {}, "tools": {}, "engine": "20.10.24", "database": null, "checked": [], "unchecked": [],
        }))
        .unwrap()
    }

    fn one(tag: &str) -> Vec<ImagePush> {
        let tags = Tags { revision: "0123456789ab".into(), moving: vec![tag.into()] };
        let registry = Registry::parse("registry.example/shop").unwrap();
        ImagePush::of_all(&verified(), &registry, &tags)
    }

    fn there(id: &str, revision: Option<&str>) -> InRegistry {
        InRegistry { digest: Digest("sha256:m".into()), id: id.into(), revision: revision.map(Into::into) }
    }

    fn nothing_there() -> Vec<Standing> {
        vec![Standing::default(), Standing::default()]
    }

    #[test]
    fn a_commits_tag_is_taken_as_it_is_when_it_is_the_same_image_and_refused_when_it_is_not() {
        let mut standing = nothing_there();
        refuse_other_images(&one("main"), &standing).unwrap();
        standing[0].revision = Some(there("sha256:g", None));
        refuse_other_images(&one("main"), &standing).unwrap();
        // With the containerd store the engine's id is the manifest's digest.
        let mut by_manifest = nothing_there();
        by_manifest[1].revision =
            Some(InRegistry { digest: Digest("sha256:u".into()), ..there("sha256:config", None) });
        refuse_other_images(&one("main"), &by_manifest).unwrap();
        standing[1].revision = Some(there("sha256:other", None));
        let text = refuse_other_images(&one("main"), &standing).unwrap_err().to_string();
        assert!(text.contains("mini-user:0123456789ab is sha256:other there and sha256:u here"), "{text}");
        assert!(!text.contains("mini-gateway"), "{text}");
    }

    #[test]
    fn a_branchs_tag_moves_forward_only_and_for_all_images_or_none() {
        let moved = |standing: &[Standing]| {
            move_of("main", &one("main"), standing, |revision| Ok(revision.starts_with("old"))).unwrap()
        };
        let mut standing = nothing_there();
        assert_eq!(moved(&standing), Move::Forward("main names the images of this commit".into()));
        standing[0].moving.insert("main".into(), there("sha256:x", Some("old-but-longer-than-twelve")));
        assert!(matches!(moved(&standing), Move::Forward(text) if text.ends_with("from images of old-but-long")));
        standing[1].moving.insert("main".into(), there("sha256:y", Some("newer")));
        assert!(matches!(moved(&standing), Move::Stays(text) if text.contains("mini-user:main was built from newer")));
        // The same image is no move, whatever its label says.
        standing[1].moving.insert("main".into(), there("sha256:u", Some("newer")));
        assert!(matches!(moved(&standing), Move::Forward(_)));
        standing[1].moving.insert("main".into(), there("sha256:y", None));
        assert!(matches!(moved(&standing), Move::Stays(text) if text.contains("no commit that it names")));
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
    fn an_image_that_this_machine_compiled_is_refused_by_name() {
        let mut by_host = verified();
        by_host.images[1].strategy = "host".into();
        let why = why(&by_host, &tree());
        assert!(
            why.starts_with("refused: user was compiled on this machine") && why.contains("`cargo xtask build-images`"),
            "{why}"
        );
    }

    #[test]
    fn an_incomplete_verify_ships_only_when_asked_for() {
        let unchecked = vec![Unchecked { what: "vulnerabilities".into(), reason: "there is no database".into() }];
        let incomplete = Verified { unchecked, ..verified() };
        assert!(why(&incomplete, &tree()).contains("vulnerabilities (there is no database)"));
        admit(&incomplete, &tree(), true).unwrap();
    }
}
