//! The secrets of a stack on this machine: made once, kept in a file that only its owner reads, never in an argument.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, ensure};
use camino::Utf8Path;
use xshell::{Shell, cmd};
use xtask_engine::{OneShot, Ready};
use xtask_image_build::BuiltImage;
use xtask_outcome::Stop;
use xtask_process::{put_new_secret, random_hex};
use xtask_workspace::{Context, Generated, Rotation};

const COMMAND_LIMIT_SECONDS: u64 = 30;

/// Writes an env file with new secrets, and `more` lines above them.
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
    text += &missing(context, ready, images, &text)?;
    put_new_secret(file, &text)
}

/// Lines with the secrets that an env file's text lacks. What a command prints is made whole: half of a pair of keys fits no other
/// half.
pub(crate) fn missing(context: &Context, ready: &Ready, images: &[BuiltImage], text: &str) -> Result<String> {
    let secrets = &context.project.stack.secrets;
    let mut more = String::new();
    for (name, bytes) in secrets.random.iter().filter(|(name, _)| value(text, name).is_none()) {
        writeln!(more, "{name}={}", random_hex(*bytes)?)?;
    }
    for command in &secrets.commands {
        if command.variables.iter().all(|name| value(text, name).is_some()) {
            continue;
        }
        if let Some(name) = command.variables.iter().find(|name| value(text, name).is_some()) {
            let text = format!(
                "refused: the env file has {name} and not all of {}, which belong together; next: take {name} out of it, too",
                command.variables.join(", ")
            );
            return Err(Stop::Absent(text).into());
        }
        more += &printed(context, ready, images, command)?;
    }
    Ok(more)
}

/// The env file's text after each of the two steps of a change of keys.
///
/// # Errors
/// When the policy names no keys, or the image makes none.
pub fn rotation(context: &Context, ready: &Ready, images: &[BuiltImage], file: &Utf8Path) -> Result<[String; 2]> {
    let secrets = &context.project.stack.secrets;
    let rotation = secrets.rotation.as_ref().context("policy/stack.toml has no [secrets.rotation]")?;
    let command = secrets.command_of(&rotation.signing);
    let command = command.with_context(|| format!("no [[secrets.command]] makes {}", rotation.signing))?;
    let text = std::fs::read_to_string(file).with_context(|| format!("read {file}"))?;
    rotated(&text, &printed(context, ready, images, command)?, rotation)
        .with_context(|| format!("{file} or the image's command gives no keys"))
}

fn rotated(text: &str, new: &str, rotation: &Rotation) -> Option<[String; 2]> {
    let Rotation { signing, public, previous } = rotation;
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

fn printed(context: &Context, ready: &Ready, images: &[BuiltImage], command: &Generated) -> Result<String> {
    let Generated { image, arguments, variables } = command;
    let built = images.iter().find(|built| built.name == *image);
    let built = built.with_context(|| {
        format!("the image {image} makes {}, and it is not among those built", variables.join(", "))
    })?;
    let shell = Shell::new()?;
    let (docker, id) = (&ready.docker.program, &built.facts.id);
    let container = OneShot::new(context, &ready.docker, "secrets")?;
    let own = container.arguments();
    let run = cmd!(shell, "{docker} run --rm {own...} --network none --read-only --cap-drop ALL {id} {arguments...}");
    let words = arguments.join(" ");
    let printed =
        container.read(run, COMMAND_LIMIT_SECONDS).with_context(|| format!("make secrets with `{image} {words}`"))?;
    for name in variables {
        ensure!(value(&printed, name).is_some(), Stop::Repository(format!("`{image} {words}` printed no {name}=")));
    }
    Ok(printed + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rotation() -> Rotation {
        let text = |text: &str| text.to_owned();
        Rotation {
            signing: text("JWT_SIGNING_KEY"),
            public: text("JWT_PUBLIC_KEY"),
            previous: text("JWT_PUBLIC_KEY_PREVIOUS"),
        }
    }

    #[test]
    fn a_change_of_keys_lets_everybody_verify_before_anybody_signs() {
        let old = "A=1\nJWT_SIGNING_KEY=s1\nJWT_PUBLIC_KEY=p1\n";
        let [verifying, whole] = rotated(old, "JWT_SIGNING_KEY=s2\nJWT_PUBLIC_KEY=p2\n", &rotation()).unwrap();
        assert_eq!(verifying, "A=1\nJWT_SIGNING_KEY=s1\nJWT_PUBLIC_KEY=p2\nJWT_PUBLIC_KEY_PREVIOUS=p1\n");
        assert_eq!(whole, "A=1\nJWT_PUBLIC_KEY=p2\nJWT_PUBLIC_KEY_PREVIOUS=p1\nJWT_SIGNING_KEY=s2\n");
        assert!(rotated("A=1\n", "JWT_SIGNING_KEY=s2\nJWT_PUBLIC_KEY=p2\n", &rotation()).is_none());
    }
}
