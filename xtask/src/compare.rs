//! `--compare` of compose-e2e and verify: which two image sets are measured side by side.

use anyhow::Result;
use camino::Utf8PathBuf;
use clap::Args;
use xtask_engine::Ready;
use xtask_image_build::{BuiltImage, ImageSet, commit, given, of_revision};
use xtask_image_push::of_lock;
use xtask_outcome::Outcome;
use xtask_stack::{Comparison, FEWEST_ROUNDS, MOST_ROUNDS};
use xtask_workspace::Context;

/// What the images of this checkout are called.
const OWN: &str = "this checkout";

#[derive(Debug, Args)]
pub(crate) struct Compare {
    /// Measure these images beside those of this checkout, in alternating rounds: `:TAG` or NAME=REFERENCE[,…] for images in
    /// the engine, the path of an images.lock.json, or a git revision, which is built. A figure that is worse is a finding.
    #[arg(long, value_name = "SET", value_parser = Set::parse)]
    compare: Option<Set>,
    /// Compare with this set instead of the images of this checkout.
    #[arg(long, value_name = "SET", value_parser = Set::parse, requires = "compare")]
    with: Option<Set>,
    /// How many rounds; each measures both sets once and takes about ten seconds.
    #[arg(long, value_name = "N", default_value_t = 8, requires = "compare",
        value_parser = clap::value_parser!(u16).range(i64::from(FEWEST_ROUNDS)..=i64::from(MOST_ROUNDS)))]
    rounds: u16,
}

/// Images, one for each image package.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Set {
    /// All packages under one tag.
    Tag(String),
    /// Name and reference; what is not named is taken from this checkout.
    References(Vec<(String, String)>),
    Lock(Utf8PathBuf),
    Revision(String),
}

impl Set {
    fn parse(text: &str) -> Result<Self, String> {
        if let Some(tag) = text.strip_prefix(':') {
            let is_tag = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
            return if !tag.is_empty() && tag.chars().all(is_tag) {
                Ok(Self::Tag(tag.to_owned()))
            } else {
                Err("behind the colon there is no tag".to_owned())
            };
        }
        if text.ends_with(".json") {
            return Ok(Self::Lock(text.into()));
        }
        if text.contains('=') {
            let pair = |pair: &str| match pair.split_once('=') {
                Some((name, reference)) if !name.is_empty() && !reference.is_empty() => {
                    Ok((name.to_owned(), reference.to_owned()))
                }
                _ => Err(format!("`{pair}` is not NAME=REFERENCE")),
            };
            return text.split(',').map(pair).collect::<Result<_, _>>().map(Self::References);
        }
        match text.trim() {
            "" => Err("no revision, tag or file is named".to_owned()),
            revision => Ok(Self::Revision(revision.to_owned())),
        }
    }

    /// Whether the images of this checkout are part of it. What nobody can know by its name is refused here, before anything is
    /// built.
    fn needs_own(&self, context: &Context) -> Result<bool> {
        let references = match self {
            Self::References(references) => references,
            Self::Revision(revision) => return commit(context, revision).map(|_| false),
            Self::Tag(_) | Self::Lock(_) => return Ok(false),
        };
        let names: Vec<_> = references.iter().map(|(name, _)| name.clone()).collect();
        Ok(context.project.select(&names)?.len() < context.project.images.len())
    }

    fn images(&self, context: &Context, ready: &Ready, own: &[BuiltImage]) -> Result<ImageSet> {
        match self {
            Self::Tag(tag) => {
                let reference = |package: &str| format!("{package}:{tag}");
                let images = &context.project.images;
                let references: Vec<_> =
                    images.iter().map(|image| (image.name().to_owned(), reference(&image.package))).collect();
                Ok(ImageSet::lasting(format!(":{tag}"), given(context, ready, &references)?))
            }
            Self::References(references) => {
                let mut images = given(context, ready, references)?;
                let rest = own.iter().filter(|own| !images.iter().any(|image| image.name == own.name)).cloned();
                let rest: Vec<_> = rest.collect();
                images.extend(rest);
                images.sort_by(|a, b| a.name.cmp(&b.name));
                let name = references.iter().map(|(name, reference)| format!("{name}={reference}"));
                Ok(ImageSet::lasting(name.collect::<Vec<_>>().join(","), images))
            }
            Self::Lock(file) => of_lock(context, ready, file),
            Self::Revision(revision) => of_revision(context, ready, revision),
        }
    }
}

impl Compare {
    pub(crate) fn is_asked_for(&self) -> bool {
        self.compare.is_some()
    }

    /// Whether the images of this checkout are compared, whole or in part.
    ///
    /// # Errors
    /// As [`Set::needs_own`].
    pub(crate) fn needs_own(&self, context: &Context) -> Result<bool> {
        let of = |set: &Option<Set>| set.as_ref().map_or(Ok(false), |set| set.needs_own(context));
        let (before, after) = (of(&self.compare)?, of(&self.with)?);
        Ok(before || after || self.with.is_none())
    }

    /// Compares, and takes away what was built or pulled for it.
    pub(crate) fn run(
        &self,
        context: &Context,
        ready: &Ready,
        own: &[BuiltImage],
        outcome: &mut Outcome,
    ) -> Result<()> {
        let Some(compare) = &self.compare else { return Ok(()) };
        let before = outcome.needed_step("before", |_| compare.images(context, ready, own))?;
        let after = outcome.needed_step("after", |_| match &self.with {
            Some(set) => set.images(context, ready, own),
            None => Ok(ImageSet::lasting(OWN.to_owned(), own.to_vec())),
        });
        let compared = after.and_then(|after| {
            let comparison = Comparison { before: &before, after: &after, rounds: self.rounds };
            let compared = outcome.step("comparison", |outcome| comparison.run(context, ready, outcome));
            let ended = after.end(context, &ready.docker);
            compared.and_then(|table| ended.map(|()| table))
        });
        let ended = before.end(context, &ready.docker);
        // The first error stays in front. The table is what the command is for: not only for those who ask for details.
        compared?.into_iter().for_each(|table| outcome.table(table));
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_told_by_its_form() {
        assert_eq!(Set::parse(":before"), Ok(Set::Tag("before".into())));
        assert_eq!(Set::parse("old/images.lock.json"), Ok(Set::Lock("old/images.lock.json".into())));
        assert_eq!(Set::parse("HEAD~3"), Ok(Set::Revision("HEAD~3".into())));
        let references = vec![("a".to_owned(), "x:1".to_owned()), ("b".to_owned(), "y@sha256:2".to_owned())];
        assert_eq!(Set::parse("a=x:1,b=y@sha256:2"), Ok(Set::References(references)));
        for wrong in [":", ":a b", "a=", "=x", "a=x,b", " "] {
            assert!(Set::parse(wrong).is_err(), "{wrong}");
        }
    }
}
