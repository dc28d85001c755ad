//! The hands of the live audit: an internal network, the neighbours of the services, the containers, and the clean-up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use camino::Utf8PathBuf;
use serde_json::Value;
use xshell::{Shell, cmd};

use xtask_engine::{CHECKOUT_LABEL, Ready, Start, ThrowAway, Tool};
use xtask_env_audit::live::{Case, Container, Made, Observation, Plan, Trial, duration, observation, seconds_of_day};
use xtask_outcome::Stop;
use xtask_process::{Captured, RunFolder, random_hex};
use xtask_workspace::Context;

const RUN_LABEL: &str = "xtask.run";
/// Containers at once; each is little more than the engine's own work.
const WORKERS: usize = 6;
const ENGINE_LIMIT_SECONDS: u64 = 60;
/// A container that has to end and does not is given up after this.
const TRIAL_LIMIT_SECONDS: u64 = 20;
const READY_LIMIT_SECONDS: u64 = 45;
const POLL_MILLISECONDS: u64 = 100;
const PASSWORD_BYTES: usize = 24;

type Observed = BTreeMap<String, Vec<Observation>>;

/// Starts what has to be started for the services in `wanted` and gives what was seen. Whatever happens, everything that
/// was started is removed.
pub(crate) fn run(context: &Context, ready: &Ready, plans: &[Plan], wanted: &[String]) -> Result<Observed> {
    context.runner.progress().now(&format!("tries the images of {}", wanted.join(", ")));
    let mut audit = Audit::begin(context, ready)?;
    context
        .runner
        .interrupt()
        .on_second(Some(format!("docker rm --force $(docker ps -aq --filter label={})", run_label(&audit.name))));
    let observed = audit.observe(plans, wanted);
    let removed = audit.end();
    context.runner.interrupt().on_second(None);
    let observed = match (observed, &removed) {
        (Err(first), Err(second)) => {
            context.runner.progress().say(&format!("audit-env: the clean-up failed as well: {second:#}"));
            return Err(first);
        }
        (observed, _) => observed?,
    };
    removed?;
    Ok(observed)
}

/// Removes what killed runs of this checkout left, and only that; gives how many runs that were.
///
/// # Errors
/// When the engine refuses.
pub fn remove_leftovers(context: &Context, docker: &Tool) -> Result<usize> {
    let leftovers = RunFolder::leftovers(&folder(context), &prefix(context))?;
    let count = leftovers.len();
    for run in leftovers {
        context.runner.progress().now(&format!("removes {}, left by an earlier run", run.name));
        remove(context, docker, &run.name)?;
        run.end()?;
    }
    Ok(count)
}

fn folder(context: &Context) -> Utf8PathBuf {
    context.project.out().join("audit/runs")
}

fn prefix(context: &Context) -> String {
    format!("{}-audit-", context.project.stack.project)
}

/// For `clean`, should the run's own folder be gone.
fn checkout_label(context: &Context) -> String {
    format!("{CHECKOUT_LABEL}={}", context.project.root)
}

fn run_label(name: &str) -> String {
    format!("{RUN_LABEL}={name}")
}

/// Containers and networks of one run, found by label.
fn remove(context: &Context, docker: &Tool, name: &str) -> Result<()> {
    let shell = Shell::new()?;
    let (docker, runner) = (&docker.program, context.runner.for_clean_up());
    let label = format!("label={}", run_label(name));
    for (list, remove) in
        [(&["ps", "--all"][..], &["rm", "--force", "--volumes"][..]), (&["network", "ls"], &["network", "rm"])]
    {
        let ids = runner.read(cmd!(shell, "{docker} {list...} --quiet --filter {label}"), ENGINE_LIMIT_SECONDS)?;
        let ids: Vec<_> = ids.lines().collect();
        if !ids.is_empty() {
            runner.read(cmd!(shell, "{docker} {remove...} {ids...}"), ENGINE_LIMIT_SECONDS)?;
        }
        let left = runner.read(cmd!(shell, "{docker} {list...} --quiet --filter {label}"), ENGINE_LIMIT_SECONDS)?;
        ensure!(left.is_empty(), Stop::Repository(format!("the clean-up of {name} left {}", left.replace('\n', ", "))));
    }
    Ok(())
}

struct Audit<'a> {
    context: &'a Context,
    ready: &'a Ready,
    name: String,
    folder: RunFolder,
    neighbours: Vec<ThrowAway<'a>>,
    keys: BTreeMap<String, String>,
}

impl<'a> Audit<'a> {
    fn begin(context: &'a Context, ready: &'a Ready) -> Result<Self> {
        let folder = RunFolder::begin(&folder(context), &prefix(context))?;
        let name = folder.name.clone();
        Ok(Self { context, ready, name, folder, neighbours: Vec::new(), keys: BTreeMap::new() })
    }

    fn end(self) -> Result<()> {
        remove(self.context, &self.ready.docker, &self.name)?;
        self.folder.end()
    }

    fn observe(&mut self, plans: &[Plan], wanted: &[String]) -> Result<Observed> {
        self.keys = self.make_keys(plans)?;
        self.start_network()?;
        self.neighbours = self.start_neighbours(plans)?;
        let nonsense = self.nonsense_file(plans)?;
        let this = &*self;
        let mut observed = Observed::new();
        thread::scope(|scope| {
            // The trials need no database, so they fill the time until it is there.
            let trials = scope.spawn(|| this.try_all(plans, wanted, &nonsense));
            let started = this.start_all(plans, wanted, &nonsense);
            let tried = trials.join().map_err(|_| anyhow::anyhow!("a worker of the live audit panicked"))?;
            for (service, observation) in started?.into_iter().chain(tried?) {
                observed.entry(service).or_default().push(observation);
            }
            Ok::<_, anyhow::Error>(())
        })?;
        for list in observed.values_mut() {
            list.sort_by_key(|seen| format!("{:?}", seen.case));
        }
        Ok(observed)
    }

    fn start_network(&self) -> Result<()> {
        let shell = Shell::new()?;
        let (docker, name) = (&self.ready.docker.program, &self.name);
        let (run, checkout) = (run_label(name), checkout_label(self.context));
        let create = cmd!(shell, "{docker} network create --internal --label {run} --label {checkout} {name}");
        self.context.runner.read(create, ENGINE_LIMIT_SECONDS).map(drop)
    }

    /// Starts every neighbour that a plan needs, each under a name of its own in the network.
    fn start_neighbours(&self, plans: &[Plan]) -> Result<Vec<ThrowAway<'a>>> {
        let policy = &self.context.project.stack;
        let needed: BTreeSet<_> = plans.iter().flat_map(Plan::neighbours).collect();
        needed
            .into_iter()
            .map(|scheme| {
                let neighbour = policy.neighbour_by_scheme(scheme);
                let neighbour = neighbour.with_context(|| format!("no neighbour has URLs with {scheme}://"))?;
                let container = format!("{}-{scheme}", self.name);
                let (run, checkout) = (run_label(&self.name), checkout_label(self.context));
                let arguments = ["--name", &container, "--label", &run, "--label", &checkout, "--network", &self.name];
                let arguments: Vec<_> =
                    arguments.into_iter().chain(["--network-alias", scheme]).map(str::to_owned).collect();
                ThrowAway::start(self.context, self.ready, neighbour, &arguments)
            })
            .collect()
    }

    /// The token keys, made by whichever image knows how.
    fn make_keys(&self, plans: &[Plan]) -> Result<BTreeMap<String, String>> {
        let needs = |plan: &&Plan| plan.made.iter().any(|(_, made)| matches!(made, Made::SigningKey | Made::PublicKey));
        if !plans.iter().any(|plan| needs(&plan)) {
            return Ok(BTreeMap::new());
        }
        let signs = |plan: &&Plan| plan.made.iter().any(|(_, made)| *made == Made::SigningKey);
        let signer = plans.iter().find(signs).context("no image makes token keys")?;
        let shell = Shell::new()?;
        let secrets = &self.context.project.stack.secrets;
        let command = secrets.rotation.as_ref().and_then(|rotation| secrets.command_of(&rotation.signing));
        let text = "policy/stack.toml has no [secrets.rotation] with a [[secrets.command]], so nobody makes keys";
        let command = &command.context(text)?.arguments;
        let (docker, image) = (&self.ready.docker.program, &signer.image);
        let (label, checkout) = (run_label(&self.name), checkout_label(self.context));
        let run = cmd!(
            shell,
            "{docker} run --rm --label {label} --label {checkout} --network none --read-only --cap-drop ALL {image} {command...}"
        );
        let printed = self.context.runner.read(run, ENGINE_LIMIT_SECONDS).context("make keys")?;
        let lines = printed.lines().filter_map(|line| line.split_once('='));
        Ok(lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// What libraries read, as a file for docker's `--env-file`: it holds no secret.
    fn nonsense_file(&self, plans: &[Plan]) -> Result<BTreeMap<String, Utf8PathBuf>> {
        let mut files = BTreeMap::new();
        for plan in plans {
            let path = self.folder.path.join(format!("nonsense-{}", plan.service));
            let lines: Vec<_> = plan.nonsense.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
            std::fs::write(&path, lines.concat()).with_context(|| format!("write {path}"))?;
            files.insert(plan.service.clone(), path);
        }
        Ok(files)
    }

    fn neighbour(&self, scheme: &str) -> Result<&ThrowAway<'a>> {
        self.neighbours.iter().find(|one| one.scheme() == scheme).with_context(|| format!("no {scheme} was started"))
    }

    /// The good values of a plan, its own database among them.
    fn good(&self, plan: &Plan, database: &str) -> Result<Vec<(String, String)>> {
        let mut values = plan.known.clone();
        let rotation = self.context.project.stack.secrets.rotation.as_ref();
        let key = |name: Option<&String>| {
            let name = name.context("policy/stack.toml has no [secrets.rotation]")?;
            self.keys.get(name).cloned().with_context(|| format!("the command for keys printed no {name}"))
        };
        for (name, made) in &plan.made {
            let value = match made {
                Made::Neighbour(scheme) => {
                    self.neighbour(scheme)?.url(scheme, &self.neighbour(scheme)?.port(), database)
                }
                Made::SigningKey => key(rotation.map(|rotation| &rotation.signing))?,
                Made::PublicKey => key(rotation.map(|rotation| &rotation.public))?,
                Made::Password => random_hex(PASSWORD_BYTES)?,
            };
            values.push((name.clone(), value));
        }
        Ok(values)
    }

    /// Runs every trial and reads the times of all containers at once.
    fn try_all(
        &self,
        plans: &[Plan],
        wanted: &[String],
        nonsense: &BTreeMap<String, Utf8PathBuf>,
    ) -> Result<Vec<(String, Observation)>> {
        let mut jobs = Vec::new();
        for plan in plans.iter().filter(|plan| wanted.contains(&plan.service)) {
            jobs.extend(plan.trials.iter().map(|trial| (plan, trial)));
        }
        let next = AtomicUsize::new(0);
        let done = Mutex::new(Vec::new());
        let failed = Mutex::new(None);
        thread::scope(|scope| {
            for _ in 0..WORKERS {
                scope.spawn(|| {
                    loop {
                        // Read once: by now another worker may have taken the next one.
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        let Some((plan, trial)) = jobs.get(number) else { return };
                        let name = format!("{}-{number}", self.name);
                        match self.try_one(plan, trial, name, nonsense) {
                            Ok(seen) => lock(&done).push((plan.service.clone(), seen)),
                            Err(error) => {
                                // The others stop, too: their results would be thrown away.
                                next.store(jobs.len(), Ordering::Relaxed);
                                lock(&failed).get_or_insert(error);
                                return;
                            }
                        }
                    }
                });
            }
        });
        if let Some(error) = lock(&failed).take() {
            return Err(error);
        }
        let mut observed = std::mem::take(&mut *lock(&done));
        self.read_times(&mut observed)?;
        Ok(observed.into_iter().map(|(service, (_, observation))| (service, observation)).collect())
    }

    fn try_one(
        &self,
        plan: &Plan,
        trial: &Trial,
        name: String,
        nonsense: &BTreeMap<String, Utf8PathBuf>,
    ) -> Result<(String, Observation)> {
        let mut environment = if trial.from_good { self.good(plan, "nowhere")? } else { Vec::new() };
        for (name, value) in &trial.changes {
            environment.retain(|(other, _)| other != name);
            environment.extend(value.clone().map(|value| (name.clone(), value)));
        }
        let container = Container { plan, name, environment, nonsense: trial.nonsense };
        let arguments = ["--network", "none"].map(ToOwned::to_owned);
        let captured = match self.docker_run(&container, &arguments, nonsense, TRIAL_LIMIT_SECONDS) {
            Ok(captured) => captured,
            Err(error) if matches!(error.downcast_ref(), Some(Stop::TimedOut(_))) => {
                return Ok((container.name.clone(), observation(trial.case.clone(), None, &container, "")));
            }
            Err(error) => return Err(error),
        };
        let code = captured.status.code().map(i64::from);
        if let Start::Refused(why) = Start::of(&captured) {
            return Err(
                Stop::Broken(format!("the engine could not start a container of {}: {why}", plan.service)).into()
            );
        }
        let printed = format!("{}\n{}", captured.stdout, captured.stderr);
        Ok((container.name.clone(), observation(trial.case.clone(), code, &container, &printed)))
    }

    fn docker_run(
        &self,
        container: &Container<'_>,
        arguments: &[String],
        nonsense: &BTreeMap<String, Utf8PathBuf>,
        limit_seconds: u64,
    ) -> Result<Captured> {
        let shell = Shell::new()?;
        let (docker, image, name) = (&self.ready.docker.program, &container.plan.image, &container.name);
        let (run, checkout) = (run_label(&self.name), checkout_label(self.context));
        let mut more = arguments.to_vec();
        if container.nonsense {
            more.extend(["--env-file".to_owned(), nonsense[&container.plan.service].to_string()]);
        }
        for (name, _) in &container.environment {
            more.extend(["--env".to_owned(), name.clone()]);
        }
        // Values travel in docker's own environment: an argument would show them to every user of the machine.
        let command = cmd!(
            shell,
            "{docker} run --name {name} --label {run} --label {checkout} --read-only --cap-drop ALL --security-opt no-new-privileges --pids-limit 128 --memory 128m {more...} {image}"
        )
        .envs(container.environment.iter().map(|(name, value)| (name, value)));
        self.context.runner.capture(command, limit_seconds)
    }

    /// The engine's own times, so that its start-up does not count.
    fn read_times(&self, observed: &mut [(String, (String, Observation))]) -> Result<()> {
        if observed.is_empty() {
            return Ok(());
        }
        let shell = Shell::new()?;
        let docker = &self.ready.docker.program;
        let names: Vec<_> = observed.iter().map(|(_, (name, _))| name.clone()).collect();
        let inspected = self.context.runner.read(cmd!(shell, "{docker} inspect {names...}"), ENGINE_LIMIT_SECONDS)?;
        let containers: Vec<Value> = serde_json::from_str(&inspected).context("read what docker inspect printed")?;
        for (_, (name, observation)) in observed {
            let wanted = format!("/{name}");
            let state = containers.iter().find(|one| one["Name"] == wanted.as_str()).map(|one| &one["State"]);
            let time = |key: &str| seconds_of_day(state?[key].as_str()?);
            if let (Some(start), Some(end)) = (time("StartedAt"), time("FinishedAt")) {
                observation.seconds = duration(start, end);
            }
        }
        Ok(())
    }

    /// Starts every service with its documented variables, and the wanted ones a second time with nonsense beside them.
    fn start_all(
        &self,
        plans: &[Plan],
        wanted: &[String],
        nonsense: &BTreeMap<String, Utf8PathBuf>,
    ) -> Result<Vec<(String, Observation)>> {
        let is_wanted = |plan: &&Plan| wanted.contains(&plan.service);
        let mut starts: Vec<_> = plans.iter().map(|plan| (plan, Case::Documented)).collect();
        starts.extend(plans.iter().filter(is_wanted).map(|plan| (plan, Case::Nonsense)));
        let database = |plan: &Plan, case: &Case| match case {
            Case::Nonsense => format!("{}-nonsense", plan.service),
            _ => plan.service.clone(),
        };
        for neighbour in &self.neighbours {
            let needs = |plan: &Plan| plan.neighbours().any(|scheme| scheme == neighbour.scheme());
            let databases = starts.iter().filter(|(plan, _)| needs(plan)).map(|(plan, case)| database(plan, case));
            neighbour.wait()?;
            neighbour.create(&databases.collect::<Vec<_>>())?;
        }
        let mut containers = Vec::new();
        for (plan, case) in starts {
            let name = format!("{}-{}", self.name, database(plan, &case));
            let environment = self.good(plan, &database(plan, &case))?;
            let container = Container { plan, name, environment, nonsense: case == Case::Nonsense };
            let mut arguments = vec!["--detach".to_owned(), "--network".to_owned(), self.name.clone()];
            if case == Case::Documented {
                // Others reach it by the name that compose.yaml gives it.
                arguments.extend(["--network-alias".to_owned(), plan.service.clone()]);
            }
            let captured = self.docker_run(&container, &arguments, nonsense, ENGINE_LIMIT_SECONDS)?;
            ensure!(
                captured.status.success(),
                Stop::Broken(format!("docker run {}: {}", plan.service, captured.tail()))
            );
            containers.push((container, case, Instant::now()));
        }
        let mut observed = Vec::new();
        for (container, case, started) in containers {
            let seen = self.wait(&container, &case, started)?;
            if wanted.contains(&container.plan.service) {
                observed.push((container.plan.service.clone(), seen));
            }
        }
        Ok(observed)
    }

    /// Waits until the program's own probe passes or the container has ended, and reads its log.
    fn wait(&self, container: &Container<'_>, case: &Case, started: Instant) -> Result<Observation> {
        const STATE_FORMAT: &str = "{{.State.Running}} {{.State.ExitCode}}";
        let shell = Shell::new()?;
        let (docker, name, probe) = (&self.ready.docker.program, &container.name, &container.plan.probe);
        let runner = &self.context.runner;
        let mut ended = None;
        loop {
            let state =
                runner.read(cmd!(shell, "{docker} inspect --format {STATE_FORMAT} {name}"), ENGINE_LIMIT_SECONDS)?;
            if let Some(code) = state.strip_prefix("false ") {
                ended = Some(code.parse().unwrap_or(-1));
                break;
            }
            let asked = runner.capture(cmd!(shell, "{docker} exec {name} {probe...}"), ENGINE_LIMIT_SECONDS)?;
            if asked.status.success() {
                break;
            }
            if started.elapsed().as_secs() > READY_LIMIT_SECONDS {
                // A container that runs and is never ready did not start, whatever its exit code would be.
                ended = Some(-1);
                break;
            }
            thread::sleep(Duration::from_millis(POLL_MILLISECONDS));
        }
        let seconds = started.elapsed().as_secs_f64();
        let log = runner.capture(cmd!(shell, "{docker} logs {name}"), ENGINE_LIMIT_SECONDS)?;
        let printed = format!("{}\n{}", log.stdout, log.stderr);
        Ok(Observation { seconds, ..observation(case.clone(), ended, container, &printed) })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
