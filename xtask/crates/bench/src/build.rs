//! `cargo xtask bench build`: the times of builds beside their alternatives, all in one run on a clone of the checkout.

use std::fmt::Write as _;
use std::time::Instant;

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Value, json};
use xshell::{Cmd, Shell, cmd};

use xtask_engine::{Ready, ready};
use xtask_image_build::copy_ca_file;
use xtask_outcome::{Date, Outcome, Stop};
use xtask_workspace::{Context, ImagePackage};

use crate::chart::Bar;
use crate::document;
use crate::policy::Policy;

const BUILD_LIMIT_SECONDS: u64 = 3600;
const QUERY_LIMIT_SECONDS: u64 = 60;
const CHEF_BASE: &str = "xtask-bench/chef:local";
const EDITS: usize = 3;
const UNCHANGED_RUNS: usize = 7;

/// What a program took: seconds by the clock, and of all processors of the machine. A builder compiles in the engine's processes, so
/// only the machine as a whole has both sides' figures.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Took {
    seconds: f64,
    cpu_seconds: f64,
}

/// One row of the result: what was timed, beside what, and the ratio to reach.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    what: String,
    took: Took,
    beside: &'static str,
    beside_took: Took,
    reach: Option<f64>,
}

impl Row {
    fn ratio(&self) -> f64 {
        self.took.seconds / self.beside_took.seconds.max(f64::EPSILON)
    }

    fn evidence(&self) -> Value {
        let round = |number: f64| (number * 100.0).round() / 100.0;
        json!({
            "what": self.what, "seconds": round(self.took.seconds), "cpu_seconds": round(self.took.cpu_seconds), "beside": self.beside,
            "beside_seconds": round(self.beside_took.seconds), "beside_cpu_seconds": round(self.beside_took.cpu_seconds),
            "ratio": round(self.ratio()), "reach": self.reach,
        })
    }
}

/// `bench build`.
///
/// # Errors
/// When a build fails.
pub fn measure(context: &Context, write: bool, quick: bool, outcome: &mut Outcome) -> Result<()> {
    let (others, minutes) = if quick { ("", 10) } else { (", by cargo-chef and naively", 25) };
    context.runner.progress().say(&format!(
        "bench build: cold builds by cargo, in the container, on the host{others}, then edits; about {minutes} minutes. \
         What is committed is measured; keep the machine quiet"
    ));
    let load = load();
    let ready = ready(context)?;
    let bench = Bench::new(context, &ready, quick)?;
    let rows = bench.rows();
    let ended = bench.end();
    let rows = rows?;
    ended?;
    outcome.checked("times compared", rows.len());
    outcome.evidence("rows", rows.iter().map(Row::evidence).collect::<Value>());
    outcome.evidence.extend(ready.evidence());
    if write {
        let machine = format!("{}; load average before it {load}", machine(&ready));
        let bar =
            |row: &Row| Bar { label: format!("{}, of {}", row.what, row.beside), value: row.ratio(), reach: row.reach };
        let bars: Vec<_> = rows.iter().map(bar).collect();
        let chart = document::write_chart(context, "builds", "Times as shares of what they are compared with", &bars)?;
        let text = text(&rows, &Date::today().to_string(), &machine) + &chart;
        document::write_part(context, document::BUILDS, &text, outcome)?;
    }
    Ok(())
}

/// A clone of the checkout that is edited and built, with its own target folders.
pub(crate) struct Bench<'a> {
    context: &'a Context,
    ready: &'a Ready,
    pub(crate) checkout: Utf8PathBuf,
    shell: Shell,
    /// The one whose service is edited; another with as many dependencies would do as well.
    edited: &'a ImagePackage,
    /// `--bin PACKAGE --bin …`
    bins: Vec<String>,
    secrets: Vec<String>,
    /// Without cargo-chef's and the naive Dockerfile.
    quick: bool,
}

impl<'a> Bench<'a> {
    pub(crate) fn new(context: &'a Context, ready: &'a Ready, quick: bool) -> Result<Self> {
        let shell = Shell::new()?;
        let folder = context.project.out().join("bench");
        let checkout = folder.join("checkout");
        shell.remove_path(&folder)?;
        shell.create_dir(&folder)?;
        let root = &context.project.root;
        context.runner.read(cmd!(shell, "git clone --quiet {root} {checkout}"), QUERY_LIMIT_SECONDS)?;
        // The same tools, found in the same way, without fetching them again.
        // Whatever the person's own is: the clone and what is compared with it are removed at the end.
        shell.set_var("CARGO_TARGET_DIR", checkout.join("target"));
        let tools = checkout.join("target/xtask/tools");
        shell.create_dir(&tools)?;
        for tool in shell.read_dir(context.project.out().join("tools")).unwrap_or_default() {
            shell.copy_file(tool, &tools)?;
        }
        shell.change_dir(&checkout);
        let edited = context.project.select(&[Policy::read(&context.project)?.edited])?[0];
        let bins = context.project.images.iter().flat_map(|image| ["--bin".to_owned(), image.package.clone()]);
        let ca = copy_ca_file(context)?;
        let secrets = ca.into_iter().map(|file| format!("--secret=id=ca,src={file}")).collect();
        Ok(Self { context, ready, checkout, edited, bins: bins.collect(), secrets, shell, quick })
    }

    fn rows(&self) -> Result<Vec<Row>> {
        let mut rows = self.cold()?;
        rows.push(self.unchanged()?);
        rows.extend(self.edits()?);
        Ok(rows)
    }

    /// Removes the clone and cargo-chef's base, however far the measuring came.
    pub(crate) fn end(&self) -> Result<()> {
        let docker = &self.ready.docker.program;
        // Not there with --quick, nor after an early failure.
        let remove = cmd!(self.shell, "{docker} image rm {CHEF_BASE}");
        self.context.runner.for_clean_up().capture(remove, QUERY_LIMIT_SECONDS)?;
        self.shell.remove_path(self.context.project.out().join("bench"))?;
        Ok(())
    }

    /// Everything compiled anew; downloads are there for whoever has a place to keep them.
    fn cold(&self) -> Result<Vec<Row>> {
        self.context.runner.run(cmd!(self.shell, "cargo fetch --quiet --locked"), BUILD_LIMIT_SECONDS)?;
        let cargo = self.time(self.cargo())?;
        let container = self.time(self.xtask(&["--no-cache"])?)?;
        let host = self.time(self.xtask(&["--strategy", "host", "--no-cache"])?)?;
        let all = |how: &str| format!("cold, all images, {how}");
        let row = |what, took, beside, beside_took, reach| Row { what, took, beside, beside_took, reach };
        let mut rows = vec![
            row(all("container"), container, "cargo build --release", cargo, Some(1.1)),
            row(all("host"), host, "cargo build --release", cargo, None),
        ];
        if self.quick {
            return Ok(rows);
        }
        self.chef_base()?;
        let mut chef = Took::default();
        for image in &self.context.project.images {
            let one = self.time(self.chef(&image.package, true))?;
            chef = Took { seconds: chef.seconds + one.seconds, cpu_seconds: chef.cpu_seconds + one.cpu_seconds };
        }
        let naive = self.time(self.naive(true))?;
        rows.push(row(
            all("container"),
            container,
            "four cargo-chef Dockerfiles, one after the other",
            chef,
            Some(0.4),
        ));
        rows.push(row(all("container"), container, "the naive Dockerfile, one image", naive, None));
        Ok(rows)
    }

    /// Nothing changed: the program alone, beside the cached bake of the same images.
    fn unchanged(&self) -> Result<Row> {
        self.time(self.xtask(&[])?)?;
        let folder = self.checkout.join("target/xtask/bench-bake.json");
        let plan = self.context.runner.read(self.xtask(&["--dry-run", "--format", "json"])?, QUERY_LIMIT_SECONDS)?;
        let plan: Value = serde_json::from_str(&plan).context("read the plan of build-images")?;
        let file = plan["evidence"]["bake_file"].as_str().context("the plan holds a bake file")?;
        self.shell.write_file(&folder, file)?;
        let (buildx, plugin) = (&self.ready.buildx.program, &self.ready.buildx.arguments);
        let bake = || cmd!(self.shell, "{buildx} {plugin...} bake --file {folder} --progress quiet");
        self.time(bake())?;
        let (mut own, mut baked) = (Vec::new(), Vec::new());
        for _ in 0..UNCHANGED_RUNS {
            own.push(self.time(self.xtask(&[])?)?);
            baked.push(self.time(bake())?);
        }
        Ok(Row {
            what: "nothing changed, four images".to_owned(),
            took: middle(own),
            beside: "cached `buildx bake` of the same",
            beside_took: middle(baked),
            reach: Some(0.5),
        })
    }

    /// The same edit, compiled by each.
    fn edits(&self) -> Result<Vec<Row>> {
        let name = self.edited.name();
        let chef_of_edited = || self.chef(&self.edited.package, false);
        if !self.quick {
            self.time(chef_of_edited())?;
        }
        let (mut cargo, mut container, mut host, mut chef, mut naive) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for edit in 0..EDITS {
            self.edit(edit)?;
            cargo.push(self.time(self.cargo())?);
            container.push(self.time(self.xtask(&[name])?)?);
            host.push(self.time(self.xtask(&[name, "--strategy", "host"])?)?);
            if !self.quick {
                chef.push(self.time(chef_of_edited())?);
                if naive.is_empty() {
                    naive.push(self.time(self.naive(false))?);
                }
            }
        }
        let (cargo, container) = (middle(cargo), middle(container));
        let edited = |how: &str| format!("`{name}` edited, its image, {how}");
        let row = |what, took, beside, beside_took, reach| Row { what, took, beside, beside_took, reach };
        let mut rows = vec![
            row(edited("host"), middle(host), "cargo build --release", cargo, Some(1.05)),
            row(edited("container"), container, "cargo build --release", cargo, Some(1.3)),
        ];
        if !self.quick {
            rows.push(row(edited("container"), container, "its cargo-chef Dockerfile", middle(chef), None));
            rows.push(row(edited("container"), container, "the naive Dockerfile", middle(naive), None));
        }
        Ok(rows)
    }

    /// Another value in the service's library each time, so that no earlier result fits.
    fn edit(&self, number: usize) -> Result<()> {
        let file = self.checkout.join(&self.edited.folder).join("src/lib.rs");
        let text = self.shell.read_file(&file)?;
        let stamp = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_nanos();
        let edit = format!("\n#[used]\nstatic EDIT_{number}: u128 = {stamp};\n");
        self.shell.write_file(&file, text + &edit).context("edit a service")
    }

    fn cargo(&self) -> Cmd<'_> {
        let (bins, target) = (&self.bins, self.checkout.join("target"));
        cmd!(self.shell, "cargo build --quiet --release --locked {bins...} --target-dir {target}")
    }

    /// `build-images` of the clone, by this very program.
    fn xtask(&self, arguments: &[&str]) -> Result<Cmd<'_>> {
        let program = std::env::current_exe().context("find this program's own file")?;
        let manifest = self.checkout.join("xtask");
        Ok(cmd!(self.shell, "{program} build-images {arguments...}").env("CARGO_MANIFEST_DIR", manifest))
    }

    fn chef_base(&self) -> Result<()> {
        let base = format!("RUST_BASE={}", self.ready.builder.reference);
        self.context
            .runner
            .run(self.build("docs/benchmarks/chef-base.Dockerfile", &base, CHEF_BASE, false, None), BUILD_LIMIT_SECONDS)
    }

    fn chef(&self, package: &str, no_cache: bool) -> Cmd<'_> {
        let base = format!("CHEF_BASE={CHEF_BASE}");
        let package = format!("PACKAGE={package}");
        self.build("docs/benchmarks/chef.Dockerfile", &base, "", no_cache, Some(&package))
    }

    fn naive(&self, no_cache: bool) -> Cmd<'_> {
        let base = format!("RUST_BASE={}", self.ready.builder.reference);
        self.build("docs/naive/Dockerfile", &base, "", no_cache, None)
    }

    fn build(&self, file: &str, base: &str, tag: &str, no_cache: bool, argument: Option<&str>) -> Cmd<'_> {
        let (buildx, plugin, secrets) = (&self.ready.buildx.program, &self.ready.buildx.arguments, &self.secrets);
        let mut command = cmd!(
            self.shell,
            "{buildx} {plugin...} build --progress plain --file {file} --build-arg {base} {secrets...}"
        );
        if let Some(argument) = argument {
            command = command.args(["--build-arg", argument]);
        }
        if no_cache {
            command = command.arg("--no-cache");
        }
        // Without a tag the result stays in the build cache: nothing to remove afterwards.
        if !tag.is_empty() {
            command = command.args(["--load", "--tag", tag]);
        }
        command.arg(".")
    }

    /// What a program takes; it has to succeed.
    fn time(&self, command: Cmd<'_>) -> Result<Took> {
        let line = command.to_string();
        self.context.runner.progress().now(&line);
        let (started, busy) = (Instant::now(), busy_seconds());
        let captured = self.context.runner.capture(command, BUILD_LIMIT_SECONDS)?;
        let took = Took { seconds: started.elapsed().as_secs_f64(), cpu_seconds: busy_seconds() - busy };
        if !captured.status.success() {
            return Err(Stop::Repository(format!("`{line}` failed: {}", captured.tail())).into());
        }
        let progress = self.context.runner.progress();
        progress.detail(&format!("{line} took {:.2} s, {:.2} CPU-s", took.seconds, took.cpu_seconds));
        Ok(took)
    }
}

pub(crate) fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds.get(seconds.len() / 2).copied().unwrap_or_default()
}

/// The one in the middle by the clock.
fn middle(mut took: Vec<Took>) -> Took {
    took.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    took.get(took.len() / 2).copied().unwrap_or_default()
}

fn proc(file: &str) -> String {
    std::fs::read_to_string(Utf8Path::new("/proc").join(file)).unwrap_or_default()
}

/// What the machine's processors have worked since it started: user, nice, system and interrupts, in hundredths in the file.
fn busy_seconds() -> f64 {
    let stat = proc("stat");
    let ticks: Vec<f64> =
        stat.lines().next().into_iter().flat_map(str::split_whitespace).filter_map(|n| n.parse().ok()).collect();
    [0, 1, 2, 5, 6].iter().filter_map(|at| ticks.get(*at)).sum::<f64>() / 100.0
}

/// The machine's load before anything is measured: what others do on it.
pub(crate) fn load() -> String {
    proc("loadavg").split_whitespace().next().unwrap_or("unknown").to_owned()
}

pub(crate) fn machine(ready: &Ready) -> String {
    format!("{}, engine {}", processors(), ready.engine)
}

pub(crate) fn processors() -> String {
    let model = proc("cpuinfo");
    let model = model.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("an unknown processor");
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    format!("{cores} cores ({})", model.trim_start_matches([' ', '\t', ':']))
}

fn text(rows: &[Row], date: &str, machine: &str) -> String {
    let whole = rows.iter().any(|row| row.beside.contains("cargo-chef"));
    let quick = if whole { "" } else { " --quick" };
    let mut text = format!(
        "Measured on {date} by `cargo xtask bench build{quick} --write`, one run on {machine}. Ratios are what counts; seconds are this machine's.\n\n\
         | what | seconds | CPU-s | beside | seconds | CPU-s | ratio | to reach |\n|---|---|---|---|---|---|---|---|\n"
    );
    for row in rows {
        let reach = row.reach.map_or_else(String::new, |reach| {
            format!("≤ {reach}: {}", if row.ratio() <= reach { "reached" } else { "missed" })
        });
        let _ = writeln!(
            text,
            "| {} | {:.2} | {:.1} | {} | {:.2} | {:.1} | {:.2} | {reach} |",
            row.what,
            row.took.seconds,
            row.took.cpu_seconds,
            row.beside,
            row.beside_took.seconds,
            row.beside_took.cpu_seconds,
            row.ratio()
        );
    }
    text += "\nCPU-s: seconds of all processors, of the whole machine (what else ran on it is in there).";
    text += "\nCold: nothing compiled, cargo's downloads there. Edits: the median of three; nothing changed: of seven, alternating.\n";
    text += if whole {
        "cargo-chef's and the naive Dockerfile download in their own layers, as they usually do:\n[benchmarks/chef.Dockerfile](benchmarks/chef.Dockerfile), [naive/Dockerfile](naive/Dockerfile).\n"
    } else {
        "Without `--quick`, cargo-chef's and a naive Dockerfile are measured beside:\n[benchmarks/chef.Dockerfile](benchmarks/chef.Dockerfile), [naive/Dockerfile](naive/Dockerfile).\n"
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn took(seconds: f64) -> Took {
        Took { seconds, cpu_seconds: seconds * 2.0 }
    }

    #[test]
    fn a_row_says_whether_its_ratio_was_reached() {
        let row = |seconds, reach| Row {
            what: "cold".into(),
            took: took(seconds),
            beside: "cargo",
            beside_took: took(100.0),
            reach,
        };
        let text = text(&[row(110.0, Some(1.2)), row(130.0, Some(1.2)), row(1.0, None)], "2026-01-01", "2 cores");
        assert!(text.contains("| cold | 110.00 | 220.0 | cargo | 100.00 | 200.0 | 1.10 | ≤ 1.2: reached |"), "{text}");
        assert!(text.contains("| 1.30 | ≤ 1.2: missed |") && text.contains("| 0.01 |  |"), "{text}");
    }

    #[test]
    fn the_median_is_the_one_in_the_middle() {
        assert_eq!(middle([9.0, 1.0, 2.0].map(took).to_vec()), took(2.0));
        assert_eq!(middle(Vec::new()), Took::default());
    }

    #[test]
    fn a_machine_that_works_has_worked() {
        let before = busy_seconds();
        assert!(before > 0.0 && busy_seconds() >= before);
    }
}
