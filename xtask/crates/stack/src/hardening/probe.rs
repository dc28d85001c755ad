//! What the kernel really does, tried from inside: a short-lived container joins the process and network namespaces of each
//! container, under the same user and as little allowed, and tries what must fail. The images have no shell to try it with.

use std::thread;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use xshell::{Shell, cmd};

use super::{Roles, Weakness, service};
use xtask_engine::{OneShot, Ready};
use xtask_outcome::Stop;
use xtask_workspace::Context;

const PROBE_LIMIT_SECONDS: u64 = 60;
const CONNECTED: i32 = 0;
/// Bash was told by the kernel that nothing is there.
const NO_WAY: i32 = 1;
/// `timeout` had to end it: nobody answered.
const TIMED_OUT: i32 = 124;

/// Arguments: NAME=ADDRESS/PORT of each neighbour. One line for each thing that was seen.
const SCRIPT: &str = r#"
grep -E '^(Uid|CapPrm|CapEff|NoNewPrivs):' /proc/1/status
sed 's/^/mount /' /proc/1/mountinfo
if refused=$(LC_ALL=C touch /proc/1/root/written-by-compose-e2e 2>&1); then echo 'write done'; else echo "write $refused"; fi
for neighbour; do
  { timeout 1 bash -c ": </dev/tcp/${neighbour#*=}" 2>&1; echo "reach ${neighbour%%=*} $?"; } &
done
wait
"#;

/// What a probe saw.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Observed {
    user: String,
    capabilities: Vec<String>,
    no_new_privileges: bool,
    writable_mounts: Vec<String>,
    /// What became of a write into the root file system.
    write: String,
    /// Each neighbour, with how the attempt to connect ended.
    reached: Vec<(String, i32)>,
}

impl Observed {
    /// Whom the first process runs as.
    pub(super) fn user(&self) -> &str {
        &self.user
    }

    /// How many things were tried: the write, and each connection.
    pub(super) fn attempts(&self) -> usize {
        1 + self.reached.len()
    }
}

/// Probes every container, all at once.
pub(super) fn all(context: &Context, ready: &Ready, roles: Roles<'_>, containers: &[Value]) -> Vec<Result<Observed>> {
    thread::scope(|scope| {
        let probes: Vec<_> = containers
            .iter()
            .map(|container| scope.spawn(|| one(context, ready, roles, containers, container)))
            .collect();
        let ended = probes.into_iter().map(thread::ScopedJoinHandle::join);
        ended.map(|result| result.unwrap_or_else(|_| Err(anyhow::anyhow!("the probe panicked")))).collect()
    })
}

fn one(
    context: &Context,
    ready: &Ready,
    roles: Roles<'_>,
    containers: &[Value],
    container: &Value,
) -> Result<Observed> {
    let shell = Shell::new()?;
    let (docker, image) = (&ready.docker.program, &ready.shell().id);
    let id = container["Id"].as_str().unwrap_or_default();
    let (pid, network) = (format!("--pid=container:{id}"), format!("--network=container:{id}"));
    let user = format!("--user={}", user(context, ready, container)?);
    let neighbours = neighbours(roles, containers);
    let probe = OneShot::new(context, &ready.docker, "probe")?;
    let own = probe.arguments();
    let run = cmd!(
        shell,
        "{docker} run --rm {own...} --entrypoint sh {pid} {network} {user} --read-only --cap-drop ALL --security-opt no-new-privileges {image} -c {SCRIPT} probe {neighbours...}"
    );
    parse(&probe.read(run, PROBE_LIMIT_SECONDS)?)
}

/// Whom the container runs as, as the probe's image understands it: a name is one of the container's own image, so the engine says
/// which numbers stand for it.
fn user(context: &Context, ready: &Ready, container: &Value) -> Result<String> {
    let named = container["Config"]["User"].as_str().unwrap_or_default();
    if named.is_empty() || named.starts_with(|first: char| first.is_ascii_digit()) {
        return Ok(named.to_owned());
    }
    let (shell, docker, id) = (Shell::new()?, &ready.docker.program, container["Id"].as_str().unwrap_or_default());
    let top = context.runner.read(cmd!(shell, "{docker} top {id} -eo pid,uid,gid"), PROBE_LIMIT_SECONDS)?;
    numbers(&top).with_context(|| format!("docker top named no process of {}: {top}", service(container)))
}

/// `UID:GID` of the first process in what `docker top` printed below its heading.
fn numbers(top: &str) -> Option<String> {
    let mut words = top.lines().nth(1)?.split_whitespace().skip(1);
    Some(format!("{}:{}", words.next()?.parse::<u32>().ok()?, words.next()?.parse::<u32>().ok()?))
}

/// NAME=ADDRESS/PORT for each address of each neighbour: the name alone would prove no more than that it is not resolved.
fn neighbours(roles: Roles<'_>, containers: &[Value]) -> Vec<String> {
    let mut found = Vec::new();
    for neighbour in containers.iter().filter(|container| roles.is_neighbour(container)) {
        let networks = neighbour.pointer("/NetworkSettings/Networks").and_then(Value::as_object);
        let addresses = networks.into_iter().flatten().filter_map(|(_, network)| network["IPAddress"].as_str());
        let port = roles.ports.get(service(neighbour)).copied().unwrap_or_default();
        found.extend(addresses.map(|address| format!("{}={address}/{port}", service(neighbour))));
    }
    found
}

fn parse(text: &str) -> Result<Observed> {
    let mut observed = Observed::default();
    for line in text.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        match words.as_slice() {
            ["Uid:", _, effective, ..] => observed.user = (*effective).to_owned(),
            [name @ ("CapPrm:" | "CapEff:"), mask] if mask.bytes().any(|digit| digit != b'0') => {
                observed.capabilities.push(format!("{name} {mask}"));
            }
            ["NoNewPrivs:", flag] => observed.no_new_privileges = *flag == "1",
            ["mount", _, _, _, _, place, options, ..] if options.split(',').any(|option| option == "rw") => {
                observed.writable_mounts.push((*place).to_owned());
            }
            ["write", ..] => observed.write = line["write ".len()..].to_owned(),
            ["reach", neighbour, status] => {
                observed.reached.push(((*neighbour).to_owned(), status.parse().unwrap_or(-1)));
            }
            _ => {}
        }
    }
    let complete = !observed.user.is_empty() && !observed.write.is_empty();
    ensure!(complete, Stop::Broken(format!("the probe saw nothing of the process: {text}")));
    Ok(observed)
}

/// Holds what was seen to what must be.
pub(super) fn judge(roles: Roles<'_>, container: &Value, observed: &Observed) -> Vec<Weakness> {
    let mut found = Vec::new();
    let mut weak = |rule, property, message: String| {
        found.push(Weakness { rule, service: service(container).to_owned(), message, property });
    };
    if observed.user == "0" {
        weak("user-root", "user:", "its process runs as root".to_owned());
    }
    for mask in &observed.capabilities {
        weak("capabilities-kept", "cap_drop", format!("its process holds capabilities ({mask})"));
    }
    if !observed.no_new_privileges {
        weak("privileges-gained", "security_opt", "its process may gain privileges (NoNewPrivs 0)".to_owned());
    }
    if !observed.write.ends_with("Read-only file system") {
        weak(
            "root-writable",
            "read_only",
            format!("a write into its root did not fail as it should: {}", observed.write),
        );
    }
    let undeclared = undeclared_mounts(container, &observed.writable_mounts);
    if !undeclared.is_empty() {
        let message = format!("nothing declares that these can be written to: {}", undeclared.join(", "));
        weak("mount-writable", "tmpfs or volumes", message);
    }
    for (neighbour, status) in &observed.reached {
        let own = roles.may_reach(container, neighbour);
        match (own, *status) {
            (true, CONNECTED) | (false, NO_WAY | TIMED_OUT) => {}
            (true, _) => weak(
                "own-neighbour",
                "networks",
                format!("it does not reach {neighbour}, so the other attempts prove nothing"),
            ),
            (false, CONNECTED) => weak("foreign-neighbour", "networks", format!("it reaches {neighbour}")),
            (false, _) => {
                weak("foreign-neighbour", "networks", format!("whether it reaches {neighbour} could not be tried"));
            }
        }
    }
    found
}

/// The writable mounts that are neither declared nor the kernel's own.
fn undeclared_mounts<'a>(container: &Value, writable: &'a [String]) -> Vec<&'a str> {
    let declared = declared_mounts(container);
    let kernel = |mount: &str| {
        ["/dev", "/proc", "/sys"].iter().any(|top| mount == *top || mount.starts_with(&format!("{top}/")))
    };
    writable
        .iter()
        .map(String::as_str)
        .filter(|mount| !kernel(mount) && !declared.iter().any(|place| place == mount))
        .collect()
}

/// Where a container may write, as its kernel names the places: `/var/run` is a link to `/run`.
fn declared_mounts(container: &Value) -> Vec<String> {
    let tmpfs = container.pointer("/HostConfig/Tmpfs").and_then(Value::as_object);
    let tmpfs = tmpfs.into_iter().flatten().map(|(place, _)| place.as_str());
    let mounts = container["Mounts"].as_array().into_iter().flatten();
    let mounts = mounts.filter_map(|mount| mount["Destination"].as_str());
    tmpfs.chain(mounts).map(|place| place.replacen("/var/run/", "/run/", 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::sync::LazyLock;

    use serde_json::json;

    const SEEN: &str = "Uid:\t65532\t65532\t65532\t65532\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nNoNewPrivs:\t1\n\
        mount 216 136 0:85 / / ro,noatime - overlay overlay rw\nmount 218 216 0:88 / /dev rw,nosuid - tmpfs tmpfs rw\n\
        mount 219 216 0:89 / /run/postgresql rw,nosuid - tmpfs tmpfs rw\n\
        write touch: cannot touch '/proc/1/root/x': Read-only file system\nreach order-db 124\nreach user-db 0\n";

    fn container() -> Value {
        json!({
            "Config": { "Labels": { "com.docker.compose.service": "user" } },
            "HostConfig": { "Tmpfs": { "/var/run/postgresql": "" } },
            "Mounts": [],
        })
    }

    static SERVES: LazyLock<BTreeMap<String, Vec<String>>> = LazyLock::new(|| {
        let one = |name: &str| (format!("{name}-db"), vec![name.to_owned()]);
        [one("user"), one("order")].into()
    });
    static NO_PORTS: BTreeMap<String, u16> = BTreeMap::new();

    fn roles() -> Roles<'static> {
        Roles { published: "gateway", serves: &SERVES, ports: &NO_PORTS }
    }

    fn rules(seen: &str) -> Vec<&'static str> {
        judge(roles(), &container(), &parse(seen).unwrap()).into_iter().map(|weakness| weakness.rule).collect()
    }

    #[test]
    fn a_hardened_process_has_no_weakness() {
        assert_eq!(judge(roles(), &container(), &parse(SEEN).unwrap()), []);
        assert_eq!(parse(SEEN).unwrap().attempts(), 3);
    }

    #[test]
    fn each_thing_that_the_kernel_allows_is_a_finding_of_its_own() {
        for (from, to, rule) in [
            ("Uid:\t65532\t65532", "Uid:\t65532\t0", "user-root"),
            ("CapEff:\t0000000000000000", "CapEff:\t0000000000000400", "capabilities-kept"),
            ("NoNewPrivs:\t1", "NoNewPrivs:\t0", "privileges-gained"),
            ("write touch: cannot touch '/proc/1/root/x': Read-only file system", "write done", "root-writable"),
            ("Read-only file system", "Permission denied", "root-writable"),
            ("/run/postgresql rw", "/etc/elsewhere rw", "mount-writable"),
            ("reach order-db 124", "reach order-db 0", "foreign-neighbour"),
            ("reach order-db 124", "reach order-db 127", "foreign-neighbour"),
            ("reach user-db 0", "reach user-db 1", "own-neighbour"),
        ] {
            assert!(SEEN.contains(from), "{from}");
            assert_eq!(rules(&SEEN.replace(from, to)), [rule], "{to}");
        }
    }

    #[test]
    fn the_numbers_of_a_named_user_are_those_of_the_first_process() {
        assert_eq!(numbers("PID    UID   GID\n4711   101   103\n4712   0   0\n").as_deref(), Some("101:103"));
        for unreadable in ["", "PID UID GID\n", "PID UID GID\n1 postgres postgres\n"] {
            assert_eq!(numbers(unreadable), None, "{unreadable}");
        }
    }

    #[test]
    fn a_probe_that_saw_nothing_is_no_pass() {
        assert!(parse("").is_err());
        assert!(parse("Uid:\t1\t1\t1\t1\n").is_err());
    }
}
