//! Each reader against the program that will read the text in earnest, by random input: Compose, BuildKit, kubectl.
//!
//! A program that is neither on the PATH nor in target/xtask/tools (`cargo xtask setup` puts it there) is skipped, and that is
//! printed. `XTASK_DIFFERENTIAL_CASES` gives the number of inputs for each reader, `XTASK_DIFFERENTIAL_SEED` the seed; a failure
//! prints both. Inputs go to the programs in batches; the time for each reader is limited.

#![expect(clippy::disallowed_methods, reason = "asks the real programs, outside xtask")]

mod differential {
    pub(crate) mod generator;
    pub(crate) mod programs;
}

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use differential::generator::Generator;
use differential::programs::{Buildx, Folder, Program, bisect, variable};
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
    let Some(compose) = Program::find("docker-compose", &["docker", "compose"]) else { return };
    let (run, folder) = (Run::begin(), Folder::new());
    let inputs = run.inputs(Generator::env_file);
    // The values of many files by one call; Compose has them in the environment of one service each.
    let ask = |inputs: &[&String]| {
        let mut services = serde_json::Map::new();
        for (at, text) in inputs.iter().enumerate() {
            let file = folder.write(&format!("{at}.env"), text);
            services.insert(format!("s{at}"), json!({ "image": "x", "env_file": [file] }));
        }
        let file = folder.write("compose.json", &json!({ "services": services }).to_string());
        let rendered = compose.json(&["--file", &file, "config", "--format", "json"], &BTreeMap::new())?;
        Some((0..inputs.len()).map(|at| values(&rendered["services"][format!("s{at}")]["environment"])).collect())
    };
    let (mut asked, mut differing) = (0, Vec::new());
    let (good, bad): (Vec<_>, Vec<_>) = inputs.iter().partition(|text| readers::env_file(text.as_bytes()).is_ok());
    for chunk in good.chunks(100) {
        for (text, answer) in chunk.iter().zip(bisect(chunk, &ask)) {
            let ours = readers::env_file(text.as_bytes()).ok();
            if answer != ours {
                differing.push(format!("{text:?}\n  ours {ours:?}\n  Compose {answer:?}"));
            }
        }
        asked += chunk.len();
    }
    for text in bad {
        if run.is_over() {
            break;
        }
        asked += 1;
        let why = readers::env_file(text.as_bytes()).unwrap_err();
        if !is_strict(&why) && ask(&[text]).is_some() {
            differing.push(format!("{text:?}\n  ours {why}\n  Compose takes it"));
        }
    }
    run.end("env files", asked, &differing);
}

/// A mapping of texts as Compose prints it: a `$` is doubled, and what has no value is not set.
fn values(printed: &Value) -> readers::Named {
    let one = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.replace("$$", "$")));
    // What has no name is read by no program.
    printed.as_object().into_iter().flatten().filter(|(name, _)| !name.is_empty()).filter_map(one).collect()
}

#[test]
fn references_are_filled_as_compose_fills_them() {
    let Some(compose) = Program::find("docker-compose", &["docker", "compose"]) else { return };
    let (run, folder) = (Run::begin(), Folder::new());
    let inputs = run.inputs(Generator::template);
    let environment: readers::Named = [("SET", "s"), ("BLANK", "")].map(|(a, b)| (a.to_owned(), b.to_owned())).into();
    let ask = |inputs: &[&String]| {
        let variables: serde_json::Map<_, _> =
            inputs.iter().enumerate().map(|(at, text)| (format!("V{at}"), json!(text))).collect();
        let stack = json!({ "services": { "s": { "image": "x", "environment": variables } } });
        let file = folder.write("compose.json", &stack.to_string());
        let rendered = compose.json(&["--file", &file, "config", "--format", "json"], &environment)?;
        let values = values(&rendered["services"]["s"]["environment"]);
        Some((0..inputs.len()).map(|at| values.get(&format!("V{at}")).cloned()).collect())
    };
    let ours = |text: &str| readers::interpolated(text, &environment);
    let (mut asked, mut differing) = (0, Vec::new());
    let (good, bad): (Vec<_>, Vec<_>) = inputs.iter().partition(|text| ours(text).is_ok_and(|text| text.is_some()));
    for chunk in good.chunks(100) {
        for (text, answer) in chunk.iter().zip(bisect(chunk, &ask)) {
            if answer.clone().flatten() != ours(text).ok().flatten() {
                differing.push(format!("{text:?}\n  ours {:?}\n  Compose {answer:?}", ours(text)));
            }
        }
        asked += chunk.len();
    }
    for text in bad {
        if run.is_over() {
            break;
        }
        asked += 1;
        let is_known = ours(text).err().is_some_and(|why| is_strict(&why));
        if !is_known && ask(&[text]).is_some() {
            differing.push(format!("{text:?}\n  ours {:?}\n  Compose takes it", ours(text)));
        }
    }
    run.end("references", asked, &differing);
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
    let run = Run::begin();
    let inputs = run.inputs(Generator::dockerfile);
    let (mut asked, mut differing) = (0, Vec::new());
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
    let ours = |text: &str| {
        let (mut variables, mut labels) = readers::dockerfile(&format!("FROM scratch\n{text}"))?;
        let own = name_in(text);
        [&mut variables, &mut labels].into_iter().for_each(|all| all.retain(|name, _| name.starts_with(&own)));
        Ok::<_, String>((variables, labels))
    };
    let (good, bad): (Vec<_>, Vec<_>) = inputs.iter().partition(|text| ours(text).is_ok());
    for chunk in good.chunks(60) {
        if run.is_over() {
            break;
        }
        for (text, answer) in chunk.iter().zip(bisect(chunk, &ask)) {
            asked += 1;
            if answer != ours(text).ok() {
                differing.push(format!("{text:?}\n  ours {:?}\n  BuildKit {answer:?}", ours(text)));
            }
        }
    }
    for text in bad.iter().take(if run.is_limited { 10 } else { bad.len() }) {
        asked += 1;
        let why = ours(text).unwrap_err();
        if !is_strict(&why) && ask(&[text]).is_some() {
            differing.push(format!("{text:?}\n  ours {why}\n  BuildKit takes it"));
        }
    }
    run.end("Dockerfiles", asked, &differing);
}

/// What the names in a snippet begin with.
fn name_in(text: &str) -> String {
    let at = text.find("V_").unwrap_or_default();
    let end = text[at + 2..].find('_').map_or(text.len(), |end| at + 2 + end + 1);
    text[at..end].to_owned()
}

/// Files of other projects, from a folder that `XTASK_DIFFERENTIAL_FOLDER` names: each is read or refused, none panics, and how many of
/// each kind are refused is printed.
#[test]
fn the_files_of_a_folder_make_no_reader_panic() {
    let Some(folder) = variable("XTASK_DIFFERENTIAL_FOLDER") else { return };
    let mut waiting = vec![std::path::PathBuf::from(folder)];
    let mut counts: BTreeMap<&str, (usize, Vec<String>)> = BTreeMap::new();
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(std::fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
            continue;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let (kind, read) = match name.rsplit('.').next() {
            Some("yml" | "yaml") => {
                let _ = readers::has_refused_value(&text);
                (
                    "YAML",
                    readers::yaml(&text).map(|documents| documents.iter().for_each(|one| drop(readers::stack(one)))),
                )
            }
            _ if name.starts_with("dockerfile") || name.ends_with(".dockerfile") => {
                ("Dockerfile", readers::dockerfile(&text).map(drop))
            }
            _ if name.starts_with(".env") || name.ends_with(".env") => {
                ("env", readers::env_file(text.as_bytes()).map(drop))
            }
            _ => continue,
        };
        let count = counts.entry(kind).or_default();
        count.0 += 1;
        count.1.extend(read.err().map(|why| format!("{}: {why}", path.display())));
    }
    for (kind, (read, refused)) in counts {
        println!("{kind}: {read} files, {} refused\n{}", refused.len(), refused.join("\n"));
    }
}

/// No reader panics or runs for long, whatever the text.
#[test]
fn no_text_makes_a_reader_panic() {
    let run = Run::begin();
    for text in run.inputs(Generator::anything) {
        let started = Instant::now();
        let _ = readers::env_file(text.as_bytes());
        let _ = readers::interpolated(&text, &BTreeMap::new());
        let _ = readers::yaml(&text);
        let _ = readers::has_refused_value(&text);
        let _ = readers::dockerfile(&text);
        if let Ok(documents) = readers::yaml(&text) {
            documents.iter().for_each(|document| drop(readers::stack(document)));
        }
        assert!(started.elapsed() < Duration::from_secs(2), "{text:?}");
    }
}
