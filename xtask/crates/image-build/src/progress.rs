//! What a bake is doing, read from buildx's `--progress rawjson`: one object a line with the steps ("vertexes") that changed and
//! pieces of their logs. <https://docs.docker.com/reference/cli/docker/buildx/build/#progress>
//!
//! A step that several images share is named after one of them; the others are seen to wait for it by following `inputs`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;

/// No more of one step's log is kept; a compiler has long said what is wrong.
const LOG_LIMIT_BYTES: usize = 1024 * 1024;
/// A finished step that took less is not worth a line.
const WORTH_A_LINE: Duration = Duration::from_millis(500);

#[derive(Debug, Default, Deserialize)]
struct Update {
    #[serde(default)]
    vertexes: Option<Vec<VertexUpdate>>,
    #[serde(default)]
    logs: Option<Vec<Log>>,
}

#[derive(Debug, Deserialize)]
struct VertexUpdate {
    digest: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    inputs: Option<Vec<String>>,
    started: Option<String>,
    completed: Option<String>,
    #[serde(default)]
    cached: bool,
    #[serde(default)]
    error: String,
}

#[derive(Debug, Deserialize)]
struct Log {
    vertex: String,
    data: String,
}

/// One step of the build.
#[derive(Debug, Default)]
struct Step {
    /// The image that the step is named after.
    image: Option<String>,
    /// `build 3/3`, `exporting to image`.
    title: String,
    inputs: Vec<String>,
    started: Option<Instant>,
    seconds: Option<f64>,
    cached: bool,
    failed: bool,
    log: Vec<u8>,
}

impl Step {
    fn running(&self) -> bool {
        self.started.is_some() && self.seconds.is_none()
    }

    /// `user build 3/3`.
    fn label(&self) -> String {
        format!("{} {}", self.image.as_deref().unwrap_or("all"), self.title)
    }
}

/// Something to say for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    /// A step that has ended: for logs.
    Detail(String),
    /// A failed step's whole log, a compiler's warnings, and whatever is no progress at all: for everybody.
    Lasting(String),
}

/// The state of a bake of these images.
#[derive(Debug)]
pub(super) struct BakeProgress {
    images: Vec<String>,
    steps: BTreeMap<String, Step>,
}

impl BakeProgress {
    pub(super) fn new(images: Vec<String>) -> Self {
        Self { images, steps: BTreeMap::new() }
    }

    /// Takes in one line of buildx and gives what is worth telling for good.
    pub(super) fn line(&mut self, line: &str, now: Instant) -> Vec<Told> {
        if line.trim().is_empty() {
            return Vec::new();
        }
        let Ok(update) = serde_json::from_str::<Update>(line) else { return vec![Told::Lasting(line.to_owned())] };
        for log in update.logs.unwrap_or_default() {
            let step = self.steps.entry(log.vertex).or_default();
            let piece = BASE64_STANDARD.decode(log.data).unwrap_or_default();
            let room = LOG_LIMIT_BYTES.saturating_sub(step.log.len());
            step.log.extend_from_slice(&piece[..piece.len().min(room)]);
        }
        update.vertexes.unwrap_or_default().into_iter().flat_map(|vertex| self.vertex(vertex, now)).collect()
    }

    fn vertex(&mut self, vertex: VertexUpdate, now: Instant) -> Vec<Told> {
        let (image, title) = self.title(&vertex.name);
        let step = self.steps.entry(vertex.digest).or_default();
        if !vertex.name.is_empty() {
            (step.image, step.title) = (image, title);
        }
        if let Some(inputs) = vertex.inputs {
            step.inputs = inputs;
        }
        step.cached |= vertex.cached;
        if vertex.started.is_some() && step.started.is_none() {
            step.started = Some(now);
        }
        let label = step.label();
        if vertex.completed.is_none() || step.seconds.is_some() {
            return Vec::new();
        }
        let took = step.started.map_or(Duration::ZERO, |started| now.saturating_duration_since(started));
        step.seconds = Some(took.as_secs_f64());
        // What ends because another step failed has nothing to say.
        step.failed = !vertex.error.is_empty() && !vertex.error.contains("cancel");
        // The folder of the sources in the builder is the root of the checkout here.
        let log = String::from_utf8_lossy(&step.log).replace("/workspace/", "");
        if step.failed {
            let head = format!("build: {label} failed after {:.1} s", took.as_secs_f64());
            return vec![Told::Lasting(head), Told::Lasting(log.trim_end().to_owned())];
        }
        let mut told = Vec::new();
        if took >= WORTH_A_LINE && !step.cached {
            told.push(Told::Detail(format!("{label} took {:.1} s", took.as_secs_f64())));
        }
        // The stages before compile empty members, whose warnings are about nothing.
        if step.title.starts_with("build ") && log.lines().any(|line| line.starts_with("warning")) {
            told.push(Told::Lasting(log.trim_end().to_owned()));
        }
        told
    }

    /// What the failed steps printed.
    pub(super) fn failed_logs(&self) -> String {
        let failed = self.steps.values().filter(|step| step.failed);
        failed.map(|step| String::from_utf8_lossy(&step.log).into_owned() + "\n").collect()
    }

    /// The image and the short title in a step's name: `[user build 3/3] RUN …`, `[user internal] load build context`.
    /// With one image there is no image in the brackets.
    fn title(&self, name: &str) -> (Option<String>, String) {
        let Some((bracket, rest)) = name.strip_prefix('[').and_then(|name| name.split_once(']')) else {
            return (self.only_image(), name.to_owned());
        };
        let (first, stage) = bracket.split_once(' ').unwrap_or((bracket, ""));
        let (image, stage) = match self.images.iter().find(|image| *image == first) {
            Some(image) => (Some(image.clone()), stage),
            None => (self.only_image(), bracket),
        };
        let title = if stage.is_empty() || stage == "internal" { rest.trim() } else { stage };
        (image, title.to_owned())
    }

    fn only_image(&self) -> Option<String> {
        if let [only] = self.images.as_slice() { Some(only.clone()) } else { None }
    }

    /// For each image what it is at, and for how long.
    pub(super) fn rows(&self, now: Instant) -> Vec<String> {
        self.images.iter().map(|image| self.row(image, now)).collect()
    }

    /// The commands that run, whichever images they are for; `None` between two of them.
    pub(super) fn under_way(&self) -> Option<String> {
        let running = self.steps.values().filter(|step| step.running() && !step.title.is_empty());
        let titles: BTreeSet<_> = running.map(Step::label).collect();
        (!titles.is_empty()).then(|| titles.into_iter().collect::<Vec<_>>().join(", "))
    }

    fn row(&self, image: &str, now: Instant) -> String {
        let own: Vec<_> = self
            .steps
            .iter()
            .filter(|(_, step)| step.image.as_deref() == Some(image))
            .map(|(digest, _)| digest)
            .collect();
        let own_steps = || own.iter().map(|digest| &self.steps[*digest]);
        if let Some(failed) = own_steps().find(|step| step.failed) {
            return format!("{} failed", failed.title);
        }
        if own_steps().any(|step| step.title.starts_with("runtime ") && step.seconds.is_some()) {
            return "built".to_owned();
        }
        let since = |step: &Step| step.started.map_or(0, |started| now.saturating_duration_since(started).as_secs());
        if let Some(step) = own_steps().find(|step| step.running()) {
            return format!("{}, {} s", step.title, since(step));
        }
        let needed = self.needed(&own);
        match needed.iter().filter_map(|digest| self.steps.get(*digest)).find(|step| step.running()) {
            Some(step) => {
                format!("waits for {} of {}, {} s", step.title, step.image.as_deref().unwrap_or("all"), since(step))
            }
            None => "waits".to_owned(),
        }
    }

    /// The steps that these ones need, directly or not.
    fn needed<'a>(&'a self, from: &[&'a String]) -> BTreeSet<&'a str> {
        let mut found: BTreeSet<&str> = BTreeSet::new();
        let mut pending: Vec<&str> = from.iter().map(|digest| digest.as_str()).collect();
        while let Some(digest) = pending.pop() {
            for input in self.steps.get(digest).map_or(&[][..], |step| &step.inputs) {
                if found.insert(input) {
                    pending.push(input);
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const START: &str = "2026-01-01T00:00:00Z";

    fn progress(images: &[&str]) -> BakeProgress {
        BakeProgress::new(images.iter().map(|image| (*image).to_owned()).collect())
    }

    fn lasting(text: &str) -> Told {
        Told::Lasting(text.to_owned())
    }

    fn step(digest: &str, name: &str, more: &Value) -> String {
        let mut vertex = json!({ "digest": digest, "name": name, "started": START });
        vertex.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "vertexes": [vertex] }).to_string()
    }

    fn log(digest: &str, text: &str) -> String {
        json!({ "logs": [{ "vertex": digest, "stream": 2, "data": BASE64_STANDARD.encode(text) }] }).to_string()
    }

    #[test]
    fn each_image_has_a_line_and_one_that_waits_for_a_shared_step_says_for_which() {
        let mut progress = progress(&["gateway", "user"]);
        let now = Instant::now();
        assert!(progress.line(&step("d", "[user dependencies 9/9] RUN cargo", &json!({})), now).is_empty());
        progress.line(
            &json!({ "vertexes": [{ "digest": "g", "name": "[gateway build 2/2] RUN cargo", "inputs": ["d"] }] })
                .to_string(),
            now,
        );
        let later = now + Duration::from_secs(12);
        assert_eq!(progress.rows(later), ["waits for dependencies 9/9 of user, 12 s", "dependencies 9/9, 12 s"]);
        assert_eq!(progress.under_way().as_deref(), Some("user dependencies 9/9"));
        progress.line(&step("d", "[user dependencies 9/9] RUN cargo", &json!({ "completed": START })), later);
        progress.line(&step("r", "[user runtime 1/1] COPY", &json!({ "completed": START })), later);
        assert_eq!(progress.rows(later), ["waits", "built"]);
    }

    #[test]
    fn a_failed_step_is_told_once_with_its_whole_log_and_what_it_cancels_is_not() {
        let mut progress = progress(&["gateway", "user"]);
        let now = Instant::now();
        let failing = "[user build 3/3] RUN cargo build";
        progress.line(&step("u", failing, &json!({})), now);
        progress.line(&step("g", "[gateway build 2/2] RUN", &json!({})), now);
        // Pieces of a log end anywhere.
        progress.line(&log("u", "error[E0425]: cannot find val"), now);
        progress.line(&log("u", "ue `x`\n  --> services/user/src/main.rs:3:5\n"), now);
        let told = progress.line(&step("u", failing, &json!({ "completed": START, "error": "exit code: 101" })), now);
        assert_eq!(
            told,
            [
                lasting("build: user build 3/3 failed after 0.0 s"),
                lasting("error[E0425]: cannot find value `x`\n  --> services/user/src/main.rs:3:5")
            ]
        );
        assert!(
            progress
                .line(&step("u", failing, &json!({ "completed": START, "error": "exit code: 101" })), now)
                .is_empty()
        );
        let cancelled = json!({ "completed": START, "error": "context canceled: context canceled" });
        assert!(progress.line(&step("g", "[gateway build 2/2] RUN", &cancelled), now).is_empty());
        assert_eq!(progress.rows(now)[1], "build 3/3 failed");
    }

    #[test]
    fn a_step_that_took_its_time_and_a_compilers_warning_are_told_and_a_cached_step_is_not() {
        let mut progress = progress(&["user"]);
        let now = Instant::now();
        let later = now + Duration::from_secs(2);
        let done = json!({ "completed": START });
        progress.line(&step("b", "[build 3/3] RUN", &json!({})), now);
        progress.line(&log("b", "   Compiling mini-user\nwarning: unused variable: `x`\n"), now);
        let told = progress.line(&step("b", "[build 3/3] RUN", &done), later);
        assert_eq!(told[0], Told::Detail("user build 3/3 took 2.0 s".to_owned()));
        assert_eq!(told[1], lasting("   Compiling mini-user\nwarning: unused variable: `x`"));
        let cached = json!({ "completed": START, "cached": true });
        progress.line(&step("c", "[kit 1/3] COPY", &json!({})), now);
        assert!(progress.line(&step("c", "[kit 1/3] COPY", &cached), later).is_empty());
    }

    #[test]
    fn what_is_no_progress_is_passed_on_and_what_is_missing_is_no_panic() {
        let mut progress = progress(&["user"]);
        let now = Instant::now();
        assert_eq!(progress.line("ERROR: failed to solve", now), [lasting("ERROR: failed to solve")]);
        for line in ["{}", r#"{"vertexes":null,"logs":null}"#, r#"{"logs":[{"vertex":"x","data":"%%"}]}"#, ""] {
            assert!(progress.line(line, now).is_empty(), "{line}");
        }
    }
}
