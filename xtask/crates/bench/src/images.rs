//! `cargo xtask bench images`: sizes beside a naive build.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use xshell::{Shell, cmd};

use xtask_engine::{Ready, ready};
use xtask_image_build::{Build, BuiltImage, copy_ca_file, evidence};
use xtask_outcome::{Date, Outcome};
use xtask_workspace::Context;

use crate::policy::Policy;

const BUILD_LIMIT_SECONDS: u64 = 3600;
const QUERY_LIMIT_SECONDS: u64 = 60;
const NAIVE_TAG: &str = "xtask-bench/naive:local";
const SIZE_FORMAT: &str = "{{.Size}}";

/// `bench images`.
///
/// # Errors
/// When an image does not build.
pub fn measure(context: &Context, write: bool, outcome: &mut Outcome) -> Result<()> {
    context.runner.progress().now("builds the images, then a naive one beside them; about 3 minutes");
    let ready = ready(context)?;
    let built = Build::default().run(context, &ready, outcome)?;
    let edited = Policy::read(&context.project)?.edited;
    let naive_bytes = naive(context, &ready)?;
    outcome.checked("images measured", built.len() + 1);
    outcome.evidence("images", evidence(&built));
    outcome.evidence("naive", json!({ "image": NAIVE_TAG, "bytes": naive_bytes }));
    if write {
        let date = Date::today().to_string();
        let file = context.project.root.join("docs/images.md");
        std::fs::write(&file, document(&built, (&edited, naive_bytes), &date, &ready))
            .with_context(|| format!("write {file}"))?;
        outcome.evidence("written", Value::from("docs/images.md"));
    }
    Ok(())
}

/// Builds docs/naive/Dockerfile, gives its size as the engine adds it up, and removes it again.
fn naive(context: &Context, ready: &Ready) -> Result<u64> {
    let shell = Shell::new()?;
    shell.change_dir(&context.project.root);
    let (buildx, plugin) = (&ready.buildx.program, &ready.buildx.arguments);
    let (docker, base) = (&ready.docker.program, format!("RUST_BASE={}", ready.builder.reference));
    let secrets: Vec<_> = copy_ca_file(context)?.into_iter().map(|file| format!("--secret=id=ca,src={file}")).collect();
    let build = cmd!(
        shell,
        "{buildx} {plugin...} build --progress plain --load --file docs/naive/Dockerfile --build-arg {base} {secrets...} --tag {NAIVE_TAG} ."
    );
    context.runner.run(build, BUILD_LIMIT_SECONDS).context("build the naive image")?;
    let size = context
        .runner
        .read(cmd!(shell, "{docker} image inspect --format {SIZE_FORMAT} {NAIVE_TAG}"), QUERY_LIMIT_SECONDS)?;
    context.runner.for_clean_up().read(cmd!(shell, "{docker} image rm {NAIVE_TAG}"), QUERY_LIMIT_SECONDS)?;
    size.parse().with_context(|| format!("`{size}` is no size"))
}

fn document(images: &[BuiltImage], (of, naive_bytes): (&str, u64), date: &str, ready: &Ready) -> String {
    let megabytes = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
    let mut text = format!(
        "# Image sizes\n\nMeasured on {date} by `cargo xtask bench images --write` (engine {}, base {}). Sizes are of all files, uncompressed.\n\n\
         | image | size | files | naive single-stage build | ratio |\n|---|---|---|---|---|\n",
        ready.engine, ready.builder.reference
    );
    for image in images {
        let facts = &image.facts;
        // The naive Dockerfile builds one; the others would differ from it by a megabyte in a thousand.
        let (naive, ratio) = if image.name == of {
            (megabytes(naive_bytes), format!("1 : {}", naive_bytes / facts.size_bytes.max(1)))
        } else {
            ("".to_owned(), "".to_owned())
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {naive} | {ratio} |",
            image.name,
            megabytes(facts.size_bytes),
            facts.files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>().join(", ")
        );
    }
    text += "\nThe naive build is [docs/naive/Dockerfile](naive/Dockerfile): one stage, the compiler and the sources in the image, root, no\nhealthcheck. An image holds its program and nothing else, so its size is the program's. `cargo xtask build-images` fails\nabove the limit in `xtask/policy/images.toml`, and tells which file grew since the build before.\n";
    text
}
