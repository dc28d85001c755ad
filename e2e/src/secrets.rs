//! The secrets of the deployment under test, read from its env file.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// No `Debug`: it would print them.
pub(crate) struct Secrets {
    pub(crate) admin_username: String,
    pub(crate) admin_password: String,
    /// The seed that `mini-user` signs tokens with.
    pub(crate) signing_key: [u8; 32],
}

impl Secrets {
    /// Reads `NAME=value` lines. The values that `cargo xtask` writes need no quoting.
    pub(crate) fn read(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
        let values: BTreeMap<_, _> = text.lines().filter_map(|line| line.split_once('=')).collect();
        let value =
            |name: &str| values.get(name).copied().with_context(|| format!("{} sets no {name}", file.display()));
        let key = STANDARD.decode(value("JWT_SIGNING_KEY")?).ok().and_then(|bytes| bytes.try_into().ok());
        Ok(Self {
            admin_username: value("ADMIN_USERNAME").unwrap_or("admin").to_owned(),
            admin_password: value("ADMIN_PASSWORD")?.to_owned(),
            signing_key: key.context("JWT_SIGNING_KEY is not base64 of 32 bytes")?,
        })
    }
}
