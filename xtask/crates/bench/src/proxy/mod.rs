//! `cargo xtask bench gateway`: a proxy of the workspace beside nginx, on the same cores, in alternating rounds of one run.

mod cost;
mod programs;
mod rounds;

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use xshell::{Shell, cmd};
use xtask_engine::{OneShot, Ready, Toolbox, ready};
use xtask_image_build::Build;
use xtask_outcome::{Date, Outcome, Stop, Table};
use xtask_process::RunFolder;
use xtask_stack::{Client, turns};
use xtask_workspace::Context;

use self::programs::{Program, Starter};
use self::rounds::{Case, Load, Round, Row, cases};
use crate::build::{load, processors};
use crate::chart::Bar;
use crate::document;
use crate::policy::Policy;

const ROUNDS: usize = 5;
/// What is not counted before a case: connections are opened and buffers grow.
const WARM_UP_MILLISECONDS: u64 = 300;
const CLIENT_LIMIT_SECONDS: u64 = 120;
const ENGINE_LIMIT_SECONDS: u64 = 60;
const FOLDER_PREFIX: &str = "proxy-";

/// How the measuring is done.
#[derive(Debug, Clone, Copy)]
pub struct Choice<'a> {
    /// How long each case takes.
    pub seconds: u64,
    /// Builds of the proxy, instead of the one in its image.
    pub programs: &'a [Utf8PathBuf],
    /// Write the result into docs/.
    pub write: bool,
}

/// `bench gateway`.
///
/// # Errors
/// When a program does not start, or answers with errors.
pub fn measure(context: &Context, choice: &Choice<'_>, outcome: &mut Outcome) -> Result<()> {
    let proxy = &Policy::read(&context.project)?.proxy;
    let cases = cases(proxy);
    let (seconds, count) = (choice.seconds, cases.len());
    if choice.write && !choice.programs.is_empty() {
        let text = "--write records what ships, and --program is something else; next: leave one of them out";
        return Err(Stop::Usage(text.to_owned()).into());
    }
    let text = format!("bench gateway: {count} cases of {seconds} s each; keep the machine quiet");
    context.runner.progress().say(&text);
    let nginx = Toolbox::new(&context.project, &context.runner)?.find_or_fetch("nginx")?;
    let client = Client::compile_optimised(context)?;
    let parent = context.project.out().join("bench-proxy");
    for left in RunFolder::leftovers(&parent, FOLDER_PREFIX)? {
        left.end()?;
    }
    let folder = RunFolder::begin(&parent, FOLDER_PREFIX)?;
    let programs = match choice.programs {
        [] => vec![shipped(context, &ready(context)?, &proxy.image, &folder.path, outcome)?],
        given => given.to_vec(),
    };
    let load_before = load();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let starter = Starter { context, nginx: &nginx, proxy, folder: &folder.path, threads };
    let rows = rows(&starter, &client, &cases, &programs, seconds);
    folder.end()?;
    let rows = rows?;

    outcome.checked("cases measured", count);
    outcome.evidence("rows", rows.iter().map(Row::evidence).collect::<serde_json::Value>());
    outcome.evidence("nginx", nginx.evidence());
    let table = table(&proxy.image, &rows);
    if choice.write {
        let machine = format!("{}; load average before it {load_before}", processors());
        let bars: Vec<_> = beside(&rows).collect();
        let chart = document::write_chart(context, "proxy", "Requests a second, as a share of nginx's", &bars)?;
        let text = described(&table, &nginx.version, &machine, seconds) + &chart;
        document::write_part(context, document::PROXY, &text, outcome)?;
    }
    outcome.table(table);
    Ok(())
}

/// The program out of the image, as it ships.
fn shipped(
    context: &Context,
    ready: &Ready,
    name: &str,
    folder: &Utf8Path,
    outcome: &mut Outcome,
) -> Result<Utf8PathBuf> {
    let build = Build { names: vec![name.to_owned()], ..Build::default() };
    let built = build.run(context, ready, outcome)?;
    let image = built.first().context("there is an image of the proxy")?;
    let (shell, docker) = (Shell::new()?, &ready.docker.program);
    let labels = OneShot::new(context, &ready.docker, "program")?.arguments();
    let (id, package) = (image.facts.id.as_str(), image.package.as_str());
    let container = context.runner.read(cmd!(shell, "{docker} create {labels...} {id}"), ENGINE_LIMIT_SECONDS)?;
    let (from, to) = (format!("{container}:/{package}"), folder.join(name));
    let copied = context.runner.read(cmd!(shell, "{docker} cp {from} {to}"), ENGINE_LIMIT_SECONDS);
    context.runner.for_clean_up().read(cmd!(shell, "{docker} rm {container}"), ENGINE_LIMIT_SECONDS)?;
    copied.map(|_| to)
}

fn rows(
    starter: &Starter<'_>,
    client: &Client,
    cases: &[Case<'_>],
    programs: &[Utf8PathBuf],
    seconds: u64,
) -> Result<Vec<Row>> {
    let (context, own) = (starter.context, &starter.proxy.image);
    let upstream = starter.upstream()?;
    let mut measured = vec![starter.proxy(upstream.address)?];
    for (number, program) in programs.iter().enumerate() {
        let name = if programs.len() == 1 { own.clone() } else { format!("{own} {}", number + 1) };
        measured.push(starter.own(&name, program, upstream.address)?);
    }
    let milliseconds = (seconds * 1000 / (ROUNDS * measured.len()) as u64).max(200);
    let mut rows = Vec::new();
    for case in cases {
        let row = |program: &Program| Row { case: case.name, program: program.name.clone(), rounds: Vec::new() };
        let mut of_case: Vec<Row> = measured.iter().map(row).collect();
        for program in &measured {
            go(context, client, program, case, WARM_UP_MILLISECONDS)?;
        }
        for round in 0..ROUNDS {
            context.runner.progress().now(&format!("{}, round {} of {ROUNDS}", case.name, round + 1));
            for at in turns(round, measured.len()) {
                of_case[at].rounds.push(go(context, client, &measured[at], case, milliseconds)?);
            }
        }
        rows.extend(of_case);
    }
    Ok(rows)
}

/// One program under load.
fn go(context: &Context, client: &Client, program: &Program, case: &Case<'_>, milliseconds: u64) -> Result<Round> {
    let (shell, file) = (Shell::new()?, client.program()?);
    let (url, milliseconds, arguments) =
        (format!("http://{}", program.address), milliseconds.to_string(), &case.arguments);
    let command = cmd!(shell, "{file} --base-url {url} throughput --milliseconds {milliseconds} {arguments...}");
    let before = program.cost();
    let printed = context.runner.read(command, CLIENT_LIMIT_SECONDS)?;
    let used = program.cost() - before;
    program.empty_log()?;
    let load: Load = serde_json::from_str(&printed).context("read what the client printed")?;
    if load.requests == 0 || load.failed > 0 {
        let text = format!("{}: {} of {} requests failed", program.name, load.failed, load.failed + load.requests);
        return Err(Stop::Broken(format!("{text} ({}); its figures would mean nothing", case.name)).into());
    }
    Ok(Round { load, cpu_microseconds: used.cpu_microseconds, memory_kilobytes: used.memory_kilobytes })
}

/// What is not nginx, as shares of what nginx did in the same case.
fn beside(rows: &[Row]) -> impl Iterator<Item = Bar> {
    rows.iter().filter_map(|row| {
        let nginx = rows.iter().find(|other| other.case == row.case)?;
        let label = format!("{}, {}", row.case, row.program);
        (!std::ptr::eq(row, nginx)).then(|| Bar { label, value: row.ratio(nginx).median, reach: Some(1.0) })
    })
}

/// A row for each program in each case; nginx stands first, and the others beside it.
fn table(name: &str, rows: &[Row]) -> Table {
    let columns = ["case", "program", "#requests/s", "#of nginx's", "#p50 ms", "#p99 ms", "#CPU µs/request", "#MiB"];
    let mut table = Table::new(&format!("{name} beside nginx"), &columns);
    for row in rows {
        let nginx = rows.iter().find(|other| other.case == row.case).unwrap_or(row);
        let ratio = row.ratio(nginx);
        let ratio = if std::ptr::eq(row, nginx) {
            String::new()
        } else {
            format!("{:.2} ({:.2}–{:.2})", ratio.median, ratio.low, ratio.high)
        };
        let per_second = row.per_second();
        table.row([
            row.case.to_owned(),
            row.program.clone(),
            format!("{:.0} ({:.0}–{:.0})", per_second.median, per_second.low, per_second.high),
            ratio,
            format!("{:.2}", row.p50_ms().median),
            format!("{:.2} ({:.2}–{:.2})", row.p99_ms().median, row.p99_ms().low, row.p99_ms().high),
            format!("{:.1}", row.cpu_microseconds()),
            format!("{:.1}", row.memory_megabytes()),
        ]);
    }
    table
}

fn described(table: &Table, nginx: &str, machine: &str, seconds: u64) -> String {
    let mut text = format!(
        "Measured on {} by `cargo xtask bench gateway --seconds {seconds} --write`, one run on {machine}; {nginx}. Load, proxy and upstream share \
         the cores. Both sides write a JSON line for each request, limit requests and connections by client, set the same header \
         fields and keep connections on both sides; 64 connections. Medians of {ROUNDS} alternating rounds, with lowest and highest.\n\n|",
        Date::today()
    );
    for column in &table.columns {
        let _ = write!(text, " {} |", column.name);
    }
    text += "\n|";
    for column in &table.columns {
        text += if column.is_figure { "--:|" } else { "---|" };
    }
    for row in &table.rows {
        let _ = write!(text, "\n| {} |", row.join(" | "));
    }
    text + "\n\nThe ratio is the median of the rounds' own. CPU is the proxy's alone; memory is the proportional share of its processes, at its highest.\n"
}

#[cfg(test)]
mod tests {
    use super::rounds::tests::row;
    use super::*;

    #[test]
    fn every_program_stands_beside_nginx() {
        let table = table("gateway", &[row("nginx", &[100, 200, 300]), row("gateway", &[100, 100, 330])]);
        let text = described(&table, "nginx/1.22.1", "2 cores", 20);
        assert!(text.contains("| case | program | requests/s | of nginx's |"), "{text}");
        assert!(text.contains("\n|---|---|--:|"), "{text}");
        assert!(
            text.contains("| small GET | nginx | 200 (100–300) |  | 1.00 | 2.50 (2.50–2.50) | 30.0 | 9.0 |"),
            "{text}"
        );
        assert!(text.contains("| small GET | gateway | 100 (100–330) | 1.00 (0.50–1.10) |"), "{text}");
    }
}
