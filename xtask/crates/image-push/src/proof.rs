//! Proves from the registry alone that tags, digests, signatures, SBOMs and provenance are what the lock says.

use anyhow::Result;
use serde_json::Value;
use xtask_outcome::{Finding, Outcome, Place};

use super::lock::{Lock, LockedImage};
use super::provenance::predicate;
use super::remote::Remote;
use super::sbom;
use super::signing::{Attestation, Cosign, Trusted};

const NEXT: &str =
    "do not deploy it; find out who pushed to the registry, then ship a new commit with `cargo xtask push`";

/// One image of the lock in a registry.
pub(super) struct Subject<'a> {
    pub(super) name: &'a str,
    pub(super) image: &'a LockedImage,
    /// `registry.example/team/shop-cart`: where it is looked for.
    pub(super) repository: String,
}

impl Subject<'_> {
    /// By digest: what everything else is attached to.
    pub(super) fn reference(&self) -> String {
        format!("{}@{}", self.repository, self.image.digest())
    }

    fn finding(&self, rule: &'static str, message: String) -> Finding {
        Finding { rule, place: Place::new(self.reference()), message, next_step: NEXT.to_owned() }
    }
}

/// The commit's tag names the locked digest, and that is the verified image.
///
/// # Errors
/// When the registry does not answer.
pub(super) fn of_tags(remote: &Remote<'_>, subject: &Subject<'_>, outcome: &mut Outcome) -> Result<bool> {
    let image = subject.image;
    let Some(there) = remote.look_up(&subject.repository, &subject.reference())? else {
        let message = "the registry has no image with the lock's digest".to_owned();
        outcome.findings.push(subject.finding("shipped-image-missing", message));
        return Ok(false);
    };
    if !there.is(&image.id) {
        let message = format!("the digest holds the image {}, the lock names {}", there.id, image.id);
        outcome.findings.push(subject.finding("shipped-image-differs", message));
    }
    let Some((revision, moving)) = image.tags.split_first() else { return Ok(true) };
    let tagged = |tag: &str| format!("{}:{tag}", subject.repository);
    let now = remote.look_up(&subject.repository, &tagged(revision))?;
    if now.as_ref().is_none_or(|now| now.digest.0 != image.digest()) {
        let now = now.map_or_else(|| "nothing".to_owned(), |now| now.digest.0);
        let message = format!("{} names {now}; a commit's tag never moves", tagged(revision));
        outcome.findings.push(subject.finding("shipped-tag-moved", message));
    }
    for tag in moving {
        let now = remote.look_up(&subject.repository, &tagged(tag))?;
        if now.is_none_or(|now| now.digest.0 != image.digest()) {
            outcome.note(format!("{} has moved on since the lock was written", tagged(tag)));
        }
    }
    Ok(true)
}

/// Signature, SBOM and provenance of one image.
///
/// # Errors
/// When cosign cannot run.
pub(super) fn of_signatures(
    cosign: &Cosign<'_>,
    trusted: &Trusted,
    lock: &Lock,
    subject: &Subject<'_>,
    outcome: &mut Outcome,
) -> Result<()> {
    let reference = subject.reference();
    if let Err(why) = cosign.verify(trusted, &reference)? {
        outcome.findings.push(subject.finding("signature-invalid", format!("no valid signature: {why}")));
    }
    for what in Attestation::ALL {
        if what == Attestation::Sbom && subject.image.sbom.is_none() {
            outcome.unchecked(format!("SBOM of {}", subject.name), "the lock names none");
            continue;
        }
        let message = match cosign.statements(trusted, what, &reference)? {
            Err(why) => format!("no valid {} statement: {why}", what.name()),
            Ok(statements) if statements.iter().any(|statement| agrees(what, lock, subject.image, statement)) => {
                continue;
            }
            Ok(statements) => {
                format!("{} signed {} statements, none of which agrees with the lock", statements.len(), what.name())
            }
        };
        let rule = match what {
            Attestation::Sbom => "sbom-differs",
            Attestation::Provenance => "provenance-differs",
        };
        outcome.findings.push(subject.finding(rule, message));
    }
    Ok(())
}

fn agrees(what: Attestation, lock: &Lock, image: &LockedImage, statement: &Value) -> bool {
    match what {
        Attestation::Provenance => *statement == predicate(lock, image),
        Attestation::Sbom => image.sbom.as_ref().is_some_and(|locked| locked.sha256 == sbom::sha256(statement)),
    }
}
