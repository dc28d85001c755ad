//! cosign: signatures and attestations beside an image in its registry, and their proof.
//!
//! With a key nothing leaves for a transparency log or a time stamp: the signing configuration that cosign is given names no
//! service. Keyless is sigstore's public instance, as cosign itself is set up for it.

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;
use xshell::{Cmd, Shell, cmd};
use xtask_engine::Tool;
use xtask_outcome::Stop;
use xtask_process::{Runner, put};

const COSIGN_LIMIT_SECONDS: u64 = 300;
const NO_SERVICES: &str = "{\"mediaType\":\"application/vnd.dev.sigstore.signingconfig.v0.2+json\"}\n";
/// What cosign calls a plain signature; it lists attestations as signatures, too.
const SIGNATURE: &str = "https://sigstore.dev/cosign/sign/v1";

/// With what is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signer {
    /// A private key's file, whose password is in `COSIGN_PASSWORD`, or a reference to a key management service.
    Key(String),
    /// A short-lived certificate of the identity that the environment offers, as in GitHub Actions.
    Keyless,
}

impl Signer {
    /// Reads `keyless`, `SCHEME://…` or a file.
    ///
    /// # Errors
    /// [`Stop::Usage`] when there is no such file.
    pub fn parse(text: &str) -> Result<Self, Stop> {
        match text {
            "keyless" => Ok(Self::Keyless),
            text if text.contains("://") || Utf8Path::new(text).is_file() => Ok(Self::Key(text.to_owned())),
            text => Err(Stop::Usage(format!(
                "--sign {text}: there is no such key file; next: `cosign generate-key-pair`, a KMS reference such as awskms:///ALIAS, or `keyless`"
            ))),
        }
    }
}

/// Whose signatures count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trusted {
    /// A public key's file, or a reference to a key management service.
    Key(String),
    /// A certificate's identity and the issuer that vouches for it.
    Identity {
        /// Such as the workflow's URL.
        identity: String,
        /// Such as `https://token.actions.githubusercontent.com`.
        issuer: String,
    },
}

/// What stands beside an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attestation {
    Sbom,
    Provenance,
}

impl Attestation {
    pub(super) const ALL: [Self; 2] = [Self::Sbom, Self::Provenance];

    /// As cosign calls its predicate.
    fn predicate_type(self) -> &'static str {
        match self {
            Self::Sbom => "cyclonedx",
            Self::Provenance => "slsaprovenance1",
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sbom => "SBOM",
            Self::Provenance => "provenance",
        }
    }
}

pub(super) struct Cosign<'a> {
    pub(super) runner: &'a Runner,
    pub(super) tool: &'a Tool,
    pub(super) shell: Shell,
    /// Plain HTTP, as docker itself speaks with a registry on loopback.
    pub(super) http: bool,
    /// Where files for it may be written.
    pub(super) folder: Utf8PathBuf,
}

impl Cosign<'_> {
    /// Signs one image by digest.
    ///
    /// # Errors
    /// [`Stop::Broken`] with what cosign printed.
    pub(super) fn sign(&self, signer: &Signer, reference: &str) -> Result<()> {
        let with = self.with(signer)?;
        let (cosign, http) = (&self.tool.program, self.http());
        self.run(cmd!(self.shell, "{cosign} sign --yes {with...} {http...} {reference}"))
    }

    /// Attaches one statement, signed.
    ///
    /// # Errors
    /// [`Stop::Broken`] with what cosign printed.
    pub(super) fn attest(
        &self,
        signer: &Signer,
        what: Attestation,
        predicate: &Utf8Path,
        reference: &str,
    ) -> Result<()> {
        let with = self.with(signer)?;
        let (cosign, http, kind) = (&self.tool.program, self.http(), what.predicate_type());
        let attest = cmd!(
            self.shell,
            "{cosign} attest --yes {with...} {http...} --type {kind} --predicate {predicate} {reference}"
        );
        self.run(attest)
    }

    /// The public half of a key, as a file; `None` for keyless.
    ///
    /// # Errors
    /// [`Stop::Broken`] when cosign cannot read the key, with the wrong password for instance.
    pub(super) fn public_half(&self, signer: &Signer) -> Result<Option<Trusted>> {
        let Signer::Key(key) = signer else { return Ok(None) };
        let cosign = &self.tool.program;
        let printed = self.runner.read(cmd!(self.shell, "{cosign} public-key --key {key}"), COSIGN_LIMIT_SECONDS)?;
        let file = self.folder.join("cosign.pub");
        put(&file, printed + "\n")?;
        Ok(Some(Trusted::Key(file.into_string())))
    }

    /// `Err` inside says why no valid signature of the trusted one is there.
    ///
    /// # Errors
    /// When cosign cannot run.
    pub(super) fn verify(&self, trusted: &Trusted, reference: &str) -> Result<Result<(), String>> {
        let (cosign, by, http) = (&self.tool.program, by(trusted), self.http());
        let verify = cmd!(self.shell, "{cosign} verify {by...} {http...} {reference}");
        let captured = self.runner.capture(verify, COSIGN_LIMIT_SECONDS)?;
        if !captured.status.success() {
            return Ok(Err(reason(&captured.stderr)));
        }
        let payloads: Value = serde_json::from_str(captured.stdout.trim()).unwrap_or_default();
        let is_signature = |payload: &Value| payload.pointer("/critical/type").is_some_and(|kind| kind == SIGNATURE);
        let signatures = payloads.as_array().into_iter().flatten().filter(|payload| is_signature(payload)).count();
        Ok(if signatures > 0 { Ok(()) } else { Err("only attestations are signed".to_owned()) })
    }

    /// The predicates of all valid statements of a kind; `Err` inside says why there is none.
    ///
    /// # Errors
    /// When cosign cannot run.
    pub(super) fn statements(
        &self,
        trusted: &Trusted,
        what: Attestation,
        reference: &str,
    ) -> Result<Result<Vec<Value>, String>> {
        let (cosign, by, http, kind) = (&self.tool.program, by(trusted), self.http(), what.predicate_type());
        let verify = cmd!(self.shell, "{cosign} verify-attestation {by...} {http...} --type {kind} {reference}");
        let captured = self.runner.capture(verify, COSIGN_LIMIT_SECONDS)?;
        if !captured.status.success() {
            return Ok(Err(reason(&captured.stderr)));
        }
        Ok(captured.stdout.lines().filter(|line| !line.trim().is_empty()).map(predicate).collect())
    }

    fn with(&self, signer: &Signer) -> Result<Vec<String>> {
        let Signer::Key(key) = signer else { return Ok(Vec::new()) };
        let services = self.folder.join("signing-config.json");
        put(&services, NO_SERVICES)?;
        Ok(["--key", key, "--signing-config", services.as_str()].map(ToOwned::to_owned).to_vec())
    }

    fn http(&self) -> Vec<&'static str> {
        if self.http { vec!["--allow-http-registry"] } else { Vec::new() }
    }

    fn run(&self, cmd: Cmd<'_>) -> Result<()> {
        self.runner.read(cmd, COSIGN_LIMIT_SECONDS).map(drop)
    }
}

fn by(trusted: &Trusted) -> Vec<String> {
    let words: &[&str] = match trusted {
        // Signed with a key, it is in no transparency log.
        Trusted::Key(key) => &["--key", key, "--insecure-ignore-tlog=true"],
        Trusted::Identity { identity, issuer } => {
            &["--certificate-identity", identity, "--certificate-oidc-issuer", issuer]
        }
    };
    words.iter().map(ToString::to_string).collect()
}

/// The predicate in one line of `verify-attestation`: an envelope whose payload is the statement.
fn predicate(line: &str) -> Result<Value, String> {
    let envelope: Value = serde_json::from_str(line).map_err(|error| format!("cosign prints no JSON: {error}"))?;
    let payload = envelope["payload"].as_str().ok_or("cosign's envelope has no payload")?;
    let statement = STANDARD.decode(payload).map_err(|error| format!("the payload is not base64: {error}"))?;
    let statement: Value =
        serde_json::from_slice(&statement).map_err(|error| format!("the statement is not JSON: {error}"))?;
    Ok(statement["predicate"].clone())
}

/// The last line that cosign printed about its failure.
fn reason(stderr: &str) -> String {
    let line = stderr.lines().rev().find(|line| line.starts_with("Error: ") || line.starts_with("error during"));
    line.map_or_else(|| stderr.trim().to_owned(), |line| line.trim_start_matches("Error: ").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_signer_is_a_file_a_reference_or_keyless() {
        assert_eq!(Signer::parse("keyless").unwrap(), Signer::Keyless);
        assert_eq!(Signer::parse("awskms:///alias/shop").unwrap(), Signer::Key("awskms:///alias/shop".into()));
        let error = Signer::parse("no/such.key").unwrap_err().to_string();
        assert!(error.contains("cosign generate-key-pair"), "{error}");
    }

    #[test]
    fn a_statement_is_unwrapped_from_its_envelope() {
        let statement = STANDARD.encode(json!({ "predicate": { "a": 1 } }).to_string());
        assert_eq!(predicate(&json!({ "payload": statement }).to_string()).unwrap(), json!({ "a": 1 }));
        assert!(predicate("{}").unwrap_err().contains("no payload"));
        assert!(predicate(r#"{"payload":"%"}"#).unwrap_err().contains("not base64"));
    }
}
