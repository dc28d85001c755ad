//! Each reader against the program that will read the text in earnest, by random input: Compose, BuildKit, kubectl.
//!
//! A program that is neither on the PATH nor in target/xtask/tools (`cargo xtask setup` puts it there) is skipped, and that is
//! printed. `XTASK_DIFFERENTIAL_CASES` gives the number of inputs for each reader, `XTASK_DIFFERENTIAL_SEED` the seed; a failure
//! prints both. Inputs go to the programs in batches; the time for each reader is limited.

#![expect(clippy::disallowed_methods, reason = "asks the real programs, outside xtask")]

mod differential {
    pub(crate) mod generator;
    pub(crate) mod programs;
    mod projects;
}

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use differential::generator::Generator;
use differential::programs::{Buildx, Folder, Program, bisect, several_at_once, variable};
use serde_json::{Value, json};
use xtask_env_audit::readers;

const CASES: usize = 300;
/// For each reader, however many inputs are asked for by default.
const LIMIT_SECONDS: u64 = 5;

/// Where we refuse on purpose what the program takes: a part of our reason, and why.
const STRICT: [(&str, &str); 8] = [
    ("has a `${`", "Compose reads a default only when it needs it; a broken one is a finding before that"),
    ("references within each other", "nobody writes twenty; a limit keeps the stack"),
    ("more than", "limits keep the memory"),
    ("twice in one mapping", "kubectl takes the last one without a word; Compose and kustomize refuse it"),
    ("a key that is a list or a mapping", "kubectl makes a text of it"),
    (
        "found character that cannot start any token",
        "go-yaml takes `{a:,b}` and `{:b}` in flow mappings; libyaml does not",
    ),
    ("did not find expected", "the same"),
    ("found unexpected ':'", "the same"),
];

fn is_strict(why: &str) -> bool {
    STRICT.iter().any(|(part, _)| why.contains(part))
}

struct Run {
    seed: u64,
    cases: usize,
    started: Instant,
    is_limited: bool,
}

impl Run {
    fn begin() -> Self {
        let number = |name: &str| variable(name).and_then(|text| text.parse::<u64>().ok());
        let cases = number("XTASK_DIFFERENTIAL_CASES");
        Self {
            seed: number("XTASK_DIFFERENTIAL_SEED").unwrap_or(1),
            cases: cases.map_or(CASES, |cases| usize::try_from(cases).unwrap_or(CASES)),
            started: Instant::now(),
            is_limited: cases.is_none(),
        }
    }

    fn inputs<T>(&self, make: impl Fn(&mut Generator) -> T) -> Vec<T> {
        let mut generator = Generator::new(self.seed);
        (0..self.cases).map(|_| make(&mut generator)).collect()
    }

    fn is_over(&self) -> bool {
        self.is_limited && self.started.elapsed() > Duration::from_secs(LIMIT_SECONDS)
    }

    fn end(&self, what: &str, asked: usize, differing: &[String]) {
        println!("{what}: {asked} inputs, seed {}, {} s", self.seed, self.started.elapsed().as_secs());
        let shown = differing.iter().take(10).cloned().collect::<Vec<_>>().join("\n");
        assert!(
            differing.is_empty(),
            "{what}: {} of {asked} inputs differ; XTASK_DIFFERENTIAL_SEED={} XTASK_DIFFERENTIAL_CASES={}\n{shown}",
            differing.len(),
            self.seed,
            self.cases,
        );
    }
}

#[test]
fn env_files_are_read_as_compose_reads_them() {
    env_files("env files", "", &|text| readers::env_file(text.as_bytes()));
}

#[test]
fn env_files_of_the_raw_format_are_read_as_compose_reads_them() {
    env_files("raw env files", "raw", &|text| readers::raw_env_file(text.as_bytes()));
}

fn env_files(what: &str, format: &str, read: &(dyn Fn(&str) -> Result<readers::Named, String> + Sync)) {
    let Some(compose) = Program::find("docker-compose", &["docker", "compose"]) else { return };
    // The values of many files by one call; Compose has them in the environment of one service each.
    let ask = |inputs: &[&String]| {
        let folder = Folder::new();
        let mut services = serde_json::Map::new();
        for (at, text) in inputs.iter().enumerate() {
            let mut file = json!({ "path": folder.write(&format!("{at}.env"), text) });
            if !format.is_empty() {
                file["format"] = format.into();
            }
            services.insert(format!("s{at}"), json!({ "image": "x", "env_file": [file] }));
        }
        let file = folder.write("compose.json", &json!({ "services": services }).to_string());
        let rendered = compose.json(&["--file", &file, "config", "--format", "json"], &BTreeMap::new())?;
        Some((0..inputs.len()).map(|at| values(&rendered["services"][format!("s{at}")]["environment"])).collect())
    };
    held(what, "Compose", 100, Generator::env_file, &|text| read(text), &ask);
}

/// Holds a reader against a program: what both take, in batches, and what the reader refuses, one by one.
fn held<T: PartialEq + std::fmt::Debug + Send>(
    what: &str,
    program: &str,
    batch: usize,
    make: fn(&mut Generator) -> String,
    ours: &(dyn Fn(&String) -> Result<T, String> + Sync),
    ask: &(dyn Fn(&[&String]) -> Option<Vec<T>> + Sync),
) {
    let run = Run::begin();
    // What is refused has to be asked about alone, so most of it is drawn again.
    let draw = |generator: &mut Generator| {
        let mut text = make(generator);
        while ours(&text).is_err() && generator.often(97) {
            text = make(generator);
        }
        text
    };
    let inputs = run.inputs(draw);
    let (good, bad): (Vec<_>, Vec<_>) = inputs.iter().partition(|text| ours(text).is_ok());
    let batches: Vec<_> = good.chunks(batch).collect();
    let compare = |batch: &&[&String]| -> Vec<Option<String>> {
        let both = batch.iter().zip(bisect(batch, ask));
        let differs = |(text, mut answer): (&&String, Option<T>)| {
            let ours = ours(text).ok();
            if answer != ours {
                // One that is open at its end takes from the next in its batch.
                answer = bisect(&[*text], ask).remove(0);
            }
            (answer != ours).then(|| format!("{text:?}\n  ours {ours:?}\n  {program} {answer:?}"))
        };
        both.map(differs).collect()
    };
    let mut told: Vec<_> = several_at_once(&batches, &|| run.is_over(), &compare).into_iter().flatten().collect();
    told.extend(several_at_once(&bad, &|| run.is_over(), &|text: &&String| {
        let why = ours(text).err().unwrap_or_default();
        let is_taken = !is_strict(&why) && ask(&[text]).is_some();
        is_taken.then(|| format!("{text:?}\n  ours {why}\n  {program} takes it"))
    }));
    println!("{what}: {} of them refused by us", bad.len());
    run.end(what, told.len(), &told.into_iter().flatten().collect::<Vec<_>>());
}

/// A mapping of texts as Compose prints it: a `$` is doubled, and what has no value is not set.
fn values(printed: &Value) -> readers::Named {
    let one = |(name, value): (&String, &Value)| Some((name.replace("$$", "$"), value.as_str()?.replace("$$", "$")));
    // What has no name is read by no program.
    printed.as_object().into_iter().flatten().filter(|(name, _)| !name.is_empty()).filter_map(one).collect()
}

#[test]
fn references_are_filled_as_compose_fills_them() {
    let Some(compose) = Program::find("docker-compose", &["docker", "compose"]) else { return };
    let environment: readers::Named = [("SET", "s"), ("BLANK", "")].map(|(a, b)| (a.to_owned(), b.to_owned())).into();
    let ask = |inputs: &[&String]| {
        let folder = Folder::new();
        let variables: serde_json::Map<_, _> =
            inputs.iter().enumerate().map(|(at, text)| (format!("V{at}"), json!(text))).collect();
        let stack = json!({ "services": { "s": { "image": "x", "environment": variables } } });
        let file = folder.write("compose.json", &stack.to_string());
        let rendered = compose.json(&["--file", &file, "config", "--format", "json"], &environment)?;
        let values = values(&rendered["services"]["s"]["environment"]);
        (0..inputs.len()).map(|at| values.get(&format!("V{at}")).cloned()).collect()
    };
    let missing = || "a variable that is required is not there".to_owned();
    let ours = |text: &String| readers::interpolated(text, &environment)?.ok_or_else(missing);
    held("references", "Compose", 100, Generator::template, &ours, &ask);
}

#[test]
fn yaml_is_read_as_kubectl_reads_it() {
    let Some(kubectl) = Program::find("kubectl", &["kubectl"]) else { return };
    let run = Run::begin();
    let inputs = run.inputs(Generator::yaml);
    let (mut asked, mut differing) = (0, Vec::new());
    for chunk in inputs.chunks(100) {
        if run.is_over() {
            break;
        }
        // Files that kubectl refuses are skipped by it, and the others are printed, each with its name.
        let folder = Folder::new();
        let text =
            |at: usize, body: &str| format!("apiVersion: v1\nkind: Probe\nmetadata: {{ name: p{at} }}\nd:\n{body}");
        for (at, body) in chunk.iter().enumerate() {
            folder.write(&format!("{at:03}.yaml"), &text(at, body));
        }
        let (printed, _) =
            kubectl.print(&["annotate", "--local", "--filename", &folder.path, "--output", "json", "a=b"]);
        let answers: BTreeMap<String, Value> = serde_json::Deserializer::from_str(&printed)
            .into_iter::<Value>()
            .map_while(Result::ok)
            .map(|document| {
                (document["metadata"]["name"].as_str().unwrap_or_default().to_owned(), document["d"].clone())
            })
            .collect();
        for (at, body) in chunk.iter().enumerate() {
            asked += 1;
            let answer = answers.get(&format!("p{at}"));
            match (readers::yaml(&text(at, body)), answer) {
                (Ok(documents), Some(answer)) if documents.len() == 1 && is_same(&documents[0]["d"], answer) => {}
                // A list, a second document or a directive is nothing that can be annotated.
                (Ok(documents), None) if documents.len() != 1 => {}
                (Err(_), None) => {}
                // The go-yaml of kubectl is older than that of kustomize, which reads first: a `?` ends a plain word in its lists.
                (Ok(_), None) if body.contains('?') => {}
                // A tag that nobody knows is nothing to the audit, which reads what kustomize has rewritten.
                (Ok(_), None) if body.contains("!!") => {}
                (Err(why), Some(_)) if is_strict(&why) => {}
                (ours, answer) => differing.push(format!("{body:?}\n  ours {ours:?}\n  kubectl {answer:?}")),
            }
        }
    }
    run.end("YAML", asked, &differing);
}

/// Numbers by their value. kubectl takes `yes` and `on` for booleans, kustomize, whose output is audited, for words.
fn is_same(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Object(a), Value::Object(b)) => {
            // kubectl writes a key that is a number or a boolean as such: `1_000` as `1000`, `False` as `false`.
            let of = |key: &String| b.get(key).or_else(|| b.get(&key.replace('_', "").to_lowercase()));
            a.len() == b.len() && a.iter().all(|(key, a)| of(key).is_some_and(|b| is_same(a, b)))
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b)),
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::String(word), Value::Bool(_)) => {
            ["y", "n", "yes", "no", "on", "off"].contains(&word.to_lowercase().as_str())
        }
        (a, b) => a == b,
    }
}

#[test]
fn the_short_forms_of_compose_come_to_what_the_long_ones_come_to() {
    let Some(compose) = Program::find("docker-compose", &["docker", "compose"]) else { return };
    let (run, folder) = (Run::begin(), Folder::new());
    let inputs = run.inputs(Generator::service);
    let ask = |inputs: &[&Value]| {
        let services: serde_json::Map<_, _> =
            inputs.iter().enumerate().map(|(at, service)| (format!("s{at}"), (*service).clone())).collect();
        let stack = json!({ "services": services, "networks": { "n": null, "m": {} }, "volumes": { "vol": null } });
        let file = folder.write("compose.json", &stack.to_string());
        let render = |more: &[&str]| {
            let arguments = [&["--file", &file, "--profile", "*", "config", "--format", "json"], more].concat();
            Some(readers::stack(&compose.json(&arguments, &BTreeMap::new())?))
        };
        let (raw, full) = (render(&["--no-interpolate"])?, render(&[])?);
        Some((0..inputs.len()).map(|at| (raw[format!("s{at}")].clone(), full[format!("s{at}")].clone())).collect())
    };
    let (mut asked, mut differing) = (0, Vec::new());
    let inputs: Vec<&Value> = inputs.iter().collect();
    for chunk in inputs.chunks(50) {
        if run.is_over() {
            break;
        }
        asked += chunk.len();
        for (service, answer) in chunk.iter().zip(bisect(chunk, &ask)) {
            if let Some((raw, full)) = answer.filter(|(raw, full)| raw != full) {
                differing.push(format!("{service}\n  as it is {raw}\n  filled in {full}"));
            }
        }
    }
    run.end("services of Compose", asked, &differing);
}

#[test]
fn manifests_are_refused_for_what_kubectl_refuses_them_for() {
    let Some(kubectl) = Program::find("kubectl", &["kubectl"]) else { return };
    let run = Run::begin();
    let inputs = run.inputs(Generator::manifest);
    let (mut asked, mut differing) = (0, Vec::new());
    for chunk in inputs.chunks(100) {
        if run.is_over() {
            break;
        }
        let folder = Folder::new();
        for (at, document) in chunk.iter().enumerate() {
            let mut document = document.clone();
            document["metadata"]["name"] = format!("p{at}").into();
            folder.write(&format!("{at:03}.yaml"), &document.to_string());
        }
        let (_, refused) =
            kubectl.print(&["set", "env", "--local", "--filename", &folder.path, "--output", "name", "X=1"]);
        for (at, document) in chunk.iter().enumerate() {
            asked += 1;
            let file = format!("/{at:03}.yaml\"");
            let is_taken = !refused.lines().any(|line| line.contains(&file));
            // kubectl itself knows types alone; the rest is checked by the server.
            let is_more =
                ["valueFrom", "\"name\":null", "\"name\":\"\""].iter().any(|part| document.to_string().contains(part));
            let is_refused = readers::has_refused_value(&document.to_string()).unwrap_or(true);
            if is_refused == is_taken && !(is_refused && is_more) {
                differing.push(format!("{document}\n  refused by us {is_refused}, taken by kubectl {is_taken}"));
            }
        }
    }
    run.end("manifests", asked, &differing);
}

#[test]
fn dockerfiles_give_the_image_that_buildkit_builds() {
    let Some(buildx) = Buildx::find() else { return };
    dockerfiles("Dockerfiles", &buildx, Generator::dockerfile);
}

#[test]
fn here_documents_end_where_buildkit_ends_them() {
    let Some(buildx) = Buildx::find() else { return };
    if buildx.image("FROM scratch\nCOPY <<EOF /x\nCOPY\nEOF\n").is_none() {
        println!("skipped: the engine's builder knows no here-documents; next: use Docker 23 or newer");
        return;
    }
    dockerfiles("here-documents", &buildx, Generator::here_documents);
}

fn dockerfiles(what: &str, buildx: &Buildx, make: fn(&mut Generator) -> String) {
    // Many snippets make one file: each has names of its own.
    let ask = |inputs: &[&String]| {
        let text = format!("FROM scratch\n{}", inputs.iter().map(|text| text.as_str()).collect::<String>());
        let (variables, labels) = buildx.image(&text)?;
        let of = |at: usize, all: &readers::Named| -> readers::Named {
            let own = name_in(inputs[at]);
            all.iter().filter(|(name, _)| name.starts_with(&own)).map(|(a, b)| (a.clone(), b.clone())).collect()
        };
        Some((0..inputs.len()).map(|at| (of(at, &variables), of(at, &labels))).collect())
    };
    // A name that is no snippet's own can be told of none.
    let ours = |text: &String| {
        let (mut variables, mut labels) = readers::dockerfile(&format!("FROM scratch\n{text}"))?;
        let own = name_in(text);
        [&mut variables, &mut labels].into_iter().for_each(|all| all.retain(|name, _| name.starts_with(&own)));
        Ok((variables, labels))
    };
    held(what, "BuildKit", 60, make, &ours, &ask);
}

/// What the names in a snippet begin with.
fn name_in(text: &str) -> String {
    let at = text.find("V_").unwrap_or_default();
    let end = text[at + 2..].find('_').map_or(text.len(), |end| at + 2 + end + 1);
    text[at..end].to_owned()
}

/// No reader panics or runs for long, whatever the text.
#[test]
fn no_text_makes_a_reader_panic() {
    let run = Run::begin();
    for text in run.inputs(Generator::anything) {
        let started = Instant::now();
        readers::ALL.iter().for_each(|(_, read)| read(&text));
        assert!(started.elapsed() < Duration::from_secs(2), "{text:?}");
    }
}
