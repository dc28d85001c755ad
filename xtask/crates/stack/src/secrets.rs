//! The secrets of a stack on this machine: made once, kept in a file that only its owner reads, never in an argument.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, ensure};
use camino::Utf8Path;
use xshell::{Shell, cmd};
use xtask_engine::{OneShot, Ready};
use xtask_image_build::BuiltImage;
use xtask_outcome::Stop;
use xtask_process::{put_new_secret, random_hex};
use xtask_workspace::{Context, KeyPair};

const KEYGEN_LIMIT_SECONDS: u64 = 30;
const PASSWORD_BYTES: usize = 24;

/// Writes an env file with new secrets, and `more` lines above them. A pair of keys comes from the command of an image.
///
/// # Errors
/// When the file exists already: secrets are never replaced behind somebody's back.
pub fn write_env_file(
    context: &Context,
    ready: &Ready,
    images: &[BuiltImage],
    file: &Utf8Path,
    more: &str,
) -> Result<()> {
    let mut text = format!(
        "# Made by cargo xtask for this machine alone; delete it, and the stack's volumes, for new secrets.\n{more}"
    );
    let secrets = &context.project.stack.secrets;
    for name in &secrets.passwords {
        writeln!(text, "{name}={}", random_hex(PASSWORD_BYTES)?)?;
    }
    if let Some(pair) = &secrets.keys {
        text += &keys(context, ready, images, pair)?;
    }
    put_new_secret(file, &text)
}

/// The env file's text after each of the two steps of a change of keys.
///
/// # Errors
/// When the policy names no keys, or the image makes none.
pub fn rotation(context: &Context, ready: &Ready, images: &[BuiltImage], file: &Utf8Path) -> Result<[String; 2]> {
    let pair = context.project.stack.secrets.keys.as_ref();
    let pair = pair.context("policy/stack.toml has no [secrets.keys], so there are no keys to change")?;
    let text = std::fs::read_to_string(file).with_context(|| format!("read {file}"))?;
    rotated(&text, &keys(context, ready, images, pair)?, pair)
        .with_context(|| format!("{file} or the image's command gives no keys"))
}

fn rotated(text: &str, new: &str, pair: &KeyPair) -> Option<[String; 2]> {
    let KeyPair { signing, public, previous, .. } = pair;
    let before = value(text, public)?;
    let verifying = with_value(&with_value(text, public, value(new, public)?), previous, before);
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

fn keys(context: &Context, ready: &Ready, images: &[BuiltImage], pair: &KeyPair) -> Result<String> {
    let KeyPair { image, command, signing, public, .. } = pair;
    let built = images.iter().find(|built| built.name == *image);
    let built = built.with_context(|| format!("the image {image} makes the keys, and it is not among those built"))?;
    let shell = Shell::new()?;
    let (docker, id) = (&ready.docker.program, &built.facts.id);
    let container = OneShot::new(context, &ready.docker, "keygen")?;
    let own = container.arguments();
    let keygen = cmd!(shell, "{docker} run --rm {own...} --network none --read-only --cap-drop ALL {id} {command...}");
    let words = command.join(" ");
    let printed =
        container.read(keygen, KEYGEN_LIMIT_SECONDS).with_context(|| format!("make keys with `{image} {words}`"))?;
    for name in [signing, public] {
        ensure!(value(&printed, name).is_some(), Stop::Repository(format!("`{image} {words}` printed no {name}=")));
    }
    Ok(printed + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> KeyPair {
        let text = |text: &str| text.to_owned();
        KeyPair {
            image: text("user"),
            command: vec![text("keygen")],
            signing: text("JWT_SIGNING_KEY"),
            public: text("JWT_PUBLIC_KEY"),
            previous: text("JWT_PUBLIC_KEY_PREVIOUS"),
        }
    }

    #[test]
    fn a_change_of_keys_lets_everybody_verify_before_anybody_signs() {
        let old = "A=1\nJWT_SIGNING_KEY=s1\nJWT_PUBLIC_KEY=p1\n";
        let [verifying, whole] = rotated(old, "JWT_SIGNING_KEY=s2\nJWT_PUBLIC_KEY=p2\n", &pair()).unwrap();
        assert_eq!(verifying, "A=1\nJWT_SIGNING_KEY=s1\nJWT_PUBLIC_KEY=p2\nJWT_PUBLIC_KEY_PREVIOUS=p1\n");
        assert_eq!(whole, "A=1\nJWT_PUBLIC_KEY=p2\nJWT_PUBLIC_KEY_PREVIOUS=p1\nJWT_SIGNING_KEY=s2\n");
        assert!(rotated("A=1\n", "JWT_SIGNING_KEY=s2\nJWT_PUBLIC_KEY=p2\n", &pair()).is_none());
    }
}
