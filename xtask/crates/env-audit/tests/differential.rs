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
use differential::programs::{Buildx, Folder, Image, Judge, Program, bisect, several_at_once, variable};
use serde_json::{Value, json};
use xtask_env_audit::{readers, take_scalars};

const CASES: usize = 300;
/// For each reader, however many inputs are asked for by default.
const LIMIT_SECONDS: u64 = 5;
/// Of what a reader refuses, so much is drawn again: the program has to be asked about each of these alone. Less where the number of
/// inputs was asked for.
const REDRAWN_PERCENT: usize = 97;
const REDRAWN_PERCENT_ASKED_FOR: usize = 90;

/// Where we refuse on purpose what the program takes: a part of our reason, and why.
const STRICT: [(&str, &str); 9] = [
    ("has a `${`", "Compose reads a default only when it needs it; a broken one is a finding before that"),
    ("references within each other", "nobody writes twenty; a limit keeps the stack"),
    ("more than", "limits keep the memory"),
    ("twice in one mapping", "kubectl takes the last one without a word; Compose and kustomize refuse it"),
    ("`<<` in quotes", "kubectl takes it for a name; Compose refuses it, and it is a mistake"),
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

    fn end(&self, what: &str, asked: usize, refused: usize, differing: &[String]) {
        let seconds = self.started.elapsed().as_secs();
        println!("{what}: {asked} inputs, {refused} of them refused by us, seed {}, {seconds} s", self.seed);
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
    if let (Some(judge), "") = (Judge::find(), format) {
        let ask = |inputs: &[&String]| {
            let texts: Vec<String> = inputs.iter().map(|text| (*text).clone()).collect();
            let answers = judge.ask("env-file", &texts).into_iter();
            // What has no name is read by no program.
            answers
                .map(|answer| {
                    answer.map(|(values, _)| values.into_iter().filter(|(name, _)| !name.is_empty()).collect())
                })
                .collect()
        };
        return held(what, "Compose's own code", (200, 200), Generator::env_file, &|text| read(text), &ask);
    }
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
    held(what, "Compose", (100, 1), Generator::env_file, &|text| read(text), &|inputs| bisect(inputs, &ask));
}

/// Holds a reader against a program: what both take, in batches, and what the reader refuses, in batches of their own. `ask` has an answer for each
/// input, `None` for one that the program refuses.
fn held<T: PartialEq + std::fmt::Debug + Send>(
    what: &str,
    program: &str,
    (batch, refused_batch): (usize, usize),
    make: fn(&mut Generator) -> String,
    ours: &(dyn Fn(&String) -> Result<T, String> + Sync),
    ask: &(dyn Fn(&[&String]) -> Vec<Option<T>> + Sync),
) {
    let run = Run::begin();
    let redrawn = match refused_batch {
        1 if run.is_limited => REDRAWN_PERCENT,
        1 => REDRAWN_PERCENT_ASKED_FOR,
        _ => 0,
    };
    let draw = |generator: &mut Generator| {
        let mut text = make(generator);
        while ours(&text).is_err() && generator.often(redrawn) {
            text = make(generator);
        }
        text
    };
    let inputs = run.inputs(draw);
    let (good, bad): (Vec<_>, Vec<_>) = inputs.iter().partition(|text| ours(text).is_ok());
    let batches: Vec<_> = good.chunks(batch).collect();
    let compare = |batch: &&[&String]| -> Vec<Option<String>> {
        let both = batch.iter().zip(ask(batch));
        let differs = |(text, mut answer): (&&String, Option<T>)| {
            let ours = ours(text).ok();
            if answer != ours {
                // One that is open at its end takes from the next in its batch.
                answer = ask(&[*text]).remove(0);
            }
            (answer != ours).then(|| format!("{text:?}\n  ours {ours:?}\n  {program} {answer:?}"))
        };
        both.map(differs).collect()
    };
    let mut told: Vec<_> = several_at_once(&batches, &|| run.is_over(), &compare).into_iter().flatten().collect();
    let refused: Vec<&[&String]> = bad.chunks(refused_batch).collect();
    let refused = several_at_once(&refused, &|| run.is_over(), &|texts: &&[&String]| -> Vec<Option<String>> {
        let both = texts.iter().zip(ask(texts));
        let differs = |(text, answer): (&&String, Option<T>)| {
            let why = ours(text).err().unwrap_or_default();
            let is_taken = !is_strict(&why) && answer.is_some();
            is_taken.then(|| format!("{text:?}\n  ours {why}\n  {program} takes it"))
        };
        both.map(differs).collect()
    });
    let refused: Vec<_> = refused.into_iter().flatten().collect();
    let (asked, refused_by_us) = (told.len() + refused.len(), refused.len());
    told.extend(refused);
    run.end(what, asked, refused_by_us, &told.into_iter().flatten().collect::<Vec<_>>());
}

/// A mapping of texts as Compose prints it: a `$` is doubled, and what has no value is not set.
fn values(printed: &Value) -> readers::Named {
    let one = |(name, value): (&String, &Value)| Some((name.replace("$$", "$"), value.as_str()?.replace("$$", "$")));
    // What has no name is read by no program.
    printed.as_object().into_iter().flatten().filter(|(name, _)| !name.is_empty()).filter_map(one).collect()
}

#[test]
fn references_are_filled_as_compose_fills_them() {
    let environment: readers::Named = [("SET", "s"), ("BLANK", "")].map(|(a, b)| (a.to_owned(), b.to_owned())).into();
    let missing = || "a variable that is required is not there".to_owned();
    let ours = |text: &String| readers::interpolated(text, &environment)?.ok_or_else(missing);
    if let Some(judge) = Judge::find() {
        let ask = |inputs: &[&String]| {
            let texts: Vec<String> = inputs.iter().map(|text| (*text).clone()).collect();
            let answers = judge.ask("reference", &texts).into_iter();
            answers.map(|answer| answer.and_then(|(mut values, _)| values.remove("value"))).collect()
        };
        return held("references", "Compose's own code", (200, 200), Generator::template, &ours, &ask);
    }
    let Some(compose) = Program::find("docker-compose", &["docker", "compose"]) else { return };
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
    held("references", "Compose", (100, 1), Generator::template, &ours, &|inputs| bisect(inputs, &ask));
}

#[test]
fn yaml_is_read_as_kubectl_reads_it() {
    let Some(kubectl) = Program::find("kubectl", &["kubectl"]) else { return };
    let run = Run::begin();
    let inputs = run.inputs(Generator::yaml);
    let (mut asked, mut refused, mut differing) = (0, 0, Vec::new());
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
            let ours = readers::yaml(&text(at, body));
            refused += usize::from(ours.is_err());
            match (ours, answer) {
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
    run.end("YAML", asked, refused, &differing);
}

/// Numbers by their value. kubectl takes `yes` and `on` for booleans, kustomize, whose output is audited, for words.
fn is_same(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Object(a), Value::Object(b)) => {
            // kubectl writes a key that is a boolean as such: `False` as `false`, and `y` as `true`.
            let of = |key: &String| {
                let word = match key.to_lowercase().as_str() {
                    "y" | "yes" | "on" | "true" => "true",
                    "n" | "no" | "off" | "false" => "false",
                    _ => key,
                };
                b.get(key).or_else(|| b.get(word))
            };
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
        let stack = json!({ "services": services, "networks": { "n": null, "m": {} }, "volumes": { "vol": null },
            "secrets": { "sec": { "file": "/x" } }, "configs": { "con": { "content": "x" } } });
        let source = stack.to_string();
        let file = folder.write("compose.json", &source);
        let render = |more: &[&str]| {
            let arguments = [&["--file", &file, "--profile", "*", "config", "--format", "json"], more].concat();
            compose.json(&arguments, &BTreeMap::new())
        };
        let (mut raw, full) = (render(&["--no-interpolate"])?, render(&[])?);
        take_scalars(&mut raw, &full);
        let (raw, full) = (readers::stack(&raw, &source), readers::stack(&full, &source));
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
    run.end("services of Compose", asked, 0, &differing);
}

#[test]
fn manifests_are_refused_for_what_kubectl_refuses_them_for() {
    let Some(kubectl) = Program::find("kubectl", &["kubectl"]) else { return };
    let run = Run::begin();
    let inputs = run.inputs(Generator::manifest);
    let (mut asked, mut refusals, mut differing) = (0, 0, Vec::new());
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
            refusals += usize::from(is_refused);
            if is_refused == is_taken && !(is_refused && is_more) {
                differing.push(format!("{document}\n  refused by us {is_refused}, taken by kubectl {is_taken}"));
            }
        }
    }
    run.end("manifests", asked, refusals, &differing);
}

#[test]
fn dockerfiles_give_the_image_that_buildkit_builds() {
    dockerfiles(
        "Dockerfiles",
        if Judge::find().is_some() { Generator::modern_dockerfile } else { Generator::dockerfile },
    );
}

#[test]
fn here_documents_end_where_buildkit_ends_them() {
    if let (None, Some(buildx)) = (Judge::find(), Buildx::find())
        && buildx.image("FROM scratch\nCOPY <<EOF /x\nCOPY\nEOF\n").is_none()
    {
        println!("skipped: the engine's builder knows no here-documents; next: use Docker 23 or newer");
        return;
    }
    dockerfiles("here-documents", Generator::here_documents);
}

#[test]
fn whole_dockerfiles_give_the_image_that_buildkit_builds() {
    if Judge::find().is_none() {
        println!("skipped: an engine builds two such files a second; next: set XTASK_DIFFERENTIAL_JUDGE");
        return;
    }
    let ours = |text: &String| {
        let (mut variables, mut labels) = readers::dockerfile(text)?;
        [&mut variables, &mut labels].into_iter().for_each(|all| all.retain(|name, _| name.starts_with("V_")));
        Ok((variables, labels))
    };
    let whole = |inputs: &[&String]| inputs[0].clone();
    held_by_buildkit("whole Dockerfiles", 1, Generator::whole_dockerfile, &ours, &whole, &|_| "V_".to_owned());
}

fn dockerfiles(what: &str, make: fn(&mut Generator) -> String) {
    // Many snippets make one file: each has names of its own. A name that is no snippet's own can be told of none.
    let ours = |text: &String| {
        let (mut variables, mut labels) = readers::dockerfile(&format!("FROM scratch\n{text}"))?;
        let own = name_in(text);
        [&mut variables, &mut labels].into_iter().for_each(|all| all.retain(|name, _| name.starts_with(&own)));
        Ok((variables, labels))
    };
    let joined =
        |inputs: &[&String]| format!("FROM scratch\n{}", inputs.iter().map(|text| text.as_str()).collect::<String>());
    held_by_buildkit(what, 60, make, &ours, &joined, &|text| name_in(text));
}

/// Holds the reader of Dockerfiles against BuildKit: `batch` inputs are `joined` to one file, and of its image each input has what begins
/// with its `own` name.
fn held_by_buildkit(
    what: &str,
    batch: usize,
    make: fn(&mut Generator) -> String,
    ours: &(dyn Fn(&String) -> Result<Image, String> + Sync),
    joined: &(dyn Fn(&[&String]) -> String + Sync),
    own: &(dyn Fn(&str) -> String + Sync),
) {
    let of = |text: &str, all: &readers::Named| -> readers::Named {
        let own = own(text);
        all.iter().filter(|(name, _)| name.starts_with(&own)).map(|(a, b)| (a.clone(), b.clone())).collect()
    };
    if let Some(judge) = Judge::find() {
        let ask = |inputs: &[&String]| {
            let files: Vec<_> = inputs.iter().map(|input| joined(&[*input])).collect();
            let images = judge.ask("dockerfile", &files).into_iter().zip(inputs);
            images.map(|(image, text)| image.map(|(a, b)| (of(text, &a), of(text, &b)))).collect()
        };
        held(what, "BuildKit's own code", (200, 200), make, ours, &ask);
    } else if let Some(buildx) = Buildx::find() {
        let ask = |inputs: &[&String]| {
            let (variables, labels) = buildx.image(&joined(inputs))?;
            Some(inputs.iter().map(|text| (of(text, &variables), of(text, &labels))).collect())
        };
        held(what, "BuildKit", (batch, 1), make, ours, &|inputs| bisect(inputs, &ask));
    }
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
        // All rules at once take their time in a build for tests; `fuzz/` is for them.
        readers::ALL.iter().filter(|(name, _)| *name != "rules").for_each(|(_, read)| read(&text));
        assert!(started.elapsed() < Duration::from_secs(2), "{text:?}");
    }
}
