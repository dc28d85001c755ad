//! The secrets of a stack on this machine: made once, kept in a file that only its owner reads, never in an argument.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;

use anyhow::{Context as _, Result, ensure};
use camino::Utf8Path;
use xshell::{Shell, cmd};

use crate::build_images::BuiltImage;
use crate::context::Context;
use crate::outcome::Stop;
use crate::setup::Ready;

const KEYGEN_LIMIT_SECONDS: u64 = 30;
const PASSWORD_BYTES: usize = 24;
/// Each service's database password, and the administrator's.
const PASSWORDS: [&str; 4] =
    ["USER_DATABASE_PASSWORD", "PRODUCT_DATABASE_PASSWORD", "ORDER_DATABASE_PASSWORD", "ADMIN_PASSWORD"];
/// What `mini-user keygen` prints.
const KEYS: [&str; 2] = ["JWT_SIGNING_KEY", "JWT_PUBLIC_KEY"];
const PREVIOUS_KEY: &str = "JWT_PUBLIC_KEY_PREVIOUS";

/// Writes an env file with new secrets. The token keys come from the user image's own `keygen`.
///
/// # Errors
/// When the file exists already: secrets are never replaced behind somebody's back.
pub(crate) fn write_env_file(context: &Context, ready: &Ready, images: &[BuiltImage], file: &Utf8Path) -> Result<()> {
    let mut text = String::from(
        "# Made by cargo xtask for this machine alone; delete it, and the stack's volumes, for new secrets.\n",
    );
    for name in PASSWORDS {
        writeln!(text, "{name}={}", random_hex()?)?;
    }
    text += &keys(context, ready, images)?;
    let mut target = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .with_context(|| format!("create {file}"))?;
    target.write_all(text.as_bytes()).with_context(|| format!("write {file}"))
}

/// The env file's text after each of the two steps of a change of keys.
pub(crate) fn rotation(
    context: &Context,
    ready: &Ready,
    images: &[BuiltImage],
    file: &Utf8Path,
) -> Result<[String; 2]> {
    let text = std::fs::read_to_string(file).with_context(|| format!("read {file}"))?;
    rotated(&text, &keys(context, ready, images)?).with_context(|| format!("{file} or keygen gives no keys"))
}

fn rotated(text: &str, new: &str) -> Option<[String; 2]> {
    let [signing, public] = KEYS;
    let previous = value(text, public)?;
    let verifying = with_value(&with_value(text, public, value(new, public)?), PREVIOUS_KEY, previous);
    let whole = with_value(&verifying, signing, value(new, signing)?);
    Some([verifying, whole])
}

/// Replaces what the env file says; its mode stays.
pub(crate) fn overwrite(file: &Utf8Path, text: &str) -> Result<()> {
    std::fs::write(file, text).with_context(|| format!("write {file}"))
}

fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
}

fn with_value(text: &str, name: &str, value: &str) -> String {
    let others = text.lines().filter(|line| !line.strip_prefix(name).is_some_and(|rest| rest.starts_with('=')));
    others.map(|line| format!("{line}\n")).collect::<String>() + &format!("{name}={value}\n")
}

fn keys(context: &Context, ready: &Ready, images: &[BuiltImage]) -> Result<String> {
    let user = images.iter().find(|image| image.name == "user").context("the user image makes the token keys")?;
    let shell = Shell::new()?;
    let (docker, id) = (&ready.docker.program, &user.facts.id);
    let keygen = cmd!(shell, "{docker} run --rm --network none --read-only --cap-drop ALL {id} keygen");
    let printed =
        context.runner.read(keygen, KEYGEN_LIMIT_SECONDS).context("make token keys with `mini-user keygen`")?;
    for name in KEYS {
        ensure!(
            printed.lines().any(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('='))),
            Stop::Repository(format!("`mini-user keygen` printed no {name}="))
        );
    }
    Ok(printed + "\n")
}

fn random_hex() -> Result<String> {
    let mut bytes = [0_u8; PASSWORD_BYTES];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .context("read /dev/urandom")?;
    let mut text = String::with_capacity(PASSWORD_BYTES * 2);
    for byte in bytes {
        write!(text, "{byte:02x}")?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_differ_and_need_no_quoting() {
        let (one, two) = (random_hex().unwrap(), random_hex().unwrap());
        assert_ne!(one, two);
        assert!(one.len() == PASSWORD_BYTES * 2 && one.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }

    #[test]
    fn a_change_of_keys_lets_everybody_verify_before_anybody_signs() {
        let old = "A=1\nJWT_SIGNING_KEY=s1\nJWT_PUBLIC_KEY=p1\n";
        let [verifying, whole] = rotated(old, "JWT_SIGNING_KEY=s2\nJWT_PUBLIC_KEY=p2\n").unwrap();
        assert_eq!(verifying, "A=1\nJWT_SIGNING_KEY=s1\nJWT_PUBLIC_KEY=p2\nJWT_PUBLIC_KEY_PREVIOUS=p1\n");
        assert_eq!(whole, "A=1\nJWT_PUBLIC_KEY=p2\nJWT_PUBLIC_KEY_PREVIOUS=p1\nJWT_SIGNING_KEY=s2\n");
        assert!(rotated("A=1\n", "JWT_SIGNING_KEY=s2\nJWT_PUBLIC_KEY=p2\n").is_none());
    }
}
