//! What a registry has under the tags of an image before a push, and after it.

use std::collections::BTreeMap;

/// The digest of a manifest in a registry. It is no image id, and the two are never compared as if they were one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Digest(pub(super) String);

/// What a reference stands for in the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InRegistry {
    pub(super) digest: Digest,
    /// The digest of the image's configuration, or of an index; either is what an engine may call the image.
    pub(super) id: String,
    /// The commit that the image's label names.
    pub(super) revision: Option<String>,
}

impl InRegistry {
    /// Whether this is the image that an engine knows by that id. An engine with the containerd store calls an image by its
    /// manifest or index, others by its configuration.
    pub(super) fn is(&self, id: &str) -> bool {
        self.id == id || self.digest.0 == id
    }
}

/// What the registry has under the tags of one image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// Under the commit's tag, which never moves.
    pub(super) revision: Option<InRegistry>,
    /// Under each tag that moves; a tag that is not there yet is not in it.
    pub(super) moving: BTreeMap<String, InRegistry>,
}
