//! Where there is no cluster: its containers as a Compose file. What the engine has no word for is left out or replaced, and named.

use anyhow::{Result, ensure};
use serde_json::{Map, Value, json};

use xtask_env_audit::kubernetes::{Cluster, Container, Secrets};
use xtask_env_audit::places::{Deployment, Healthcheck};
use xtask_env_audit::template::Reference;
use xtask_outcome::Stop;
use xtask_stack::image_variable;
use xtask_workspace::StackPolicy;

/// The engine makes it itself and only takes a size.
const SHARED_MEMORY: &str = "/dev/shm";
/// Stands for the Ingress: the one way in from outside.
const OUTSIDE: &str = "outside";

/// No manifest can limit processes; a kubelet does it for all of its pods.
const PROCESSES: u32 = 128;

/// The file, and what is not as the manifests say.
#[derive(Debug)]
pub struct ComposeFile {
    /// The Compose file as JSON.
    pub file: Value,
    /// A sentence each: what stands for what, and what nothing stands for.
    pub instead: Vec<String>,
}

/// `packages` are the images that are built here; `own_bases` are the neighbours' images that are home-made, whose users have other
/// numbers.
///
/// # Errors
/// [`Stop::Repository`] for what cannot be run without a cluster.
pub fn compose_file(
    cluster: &Cluster,
    packages: &[&str],
    secrets: &Secrets,
    policy: &StackPolicy,
    own_bases: &[&str],
) -> Result<ComposeFile> {
    let entrance = &policy.entrance;
    let mut instead = vec![
        format!("a published port of {} for the Ingress", entrance.service),
        format!("a limit of {PROCESSES} processes per container for the kubelet's `podPidsLimit`"),
    ];
    let (mut services, mut networks, mut volumes) = (Map::new(), Map::new(), Map::new());
    networks.insert(OUTSIDE.to_owned(), json!({}));
    for (container, deployment) in cluster.pairs() {
        ensure!(
            !container.is_init,
            Stop::Repository(format!("{}: an init container cannot be run without a cluster", deployment.name))
        );
        let reached: Vec<_> = deployment.reached_on.iter().flatten().map(|port| u64::from(*port)).collect();
        ensure!(
            reached == container.ports,
            Stop::Repository(format!("the Service {} maps its port, which only a cluster does", deployment.name))
        );
        instead.extend(left_out(container, &deployment.name));
        let mut service = service(container, deployment, secrets);
        let name = deployment.repository().rsplit('/').next().unwrap_or_default().to_owned();
        if packages.contains(&name.as_str()) {
            service["image"] = format!("${{{}:?}}", image_variable(&name)).into();
        } else {
            let neighbour = policy.neighbour_of(&deployment.name).ok_or_else(|| {
                let text = format!("{} is no image of this workspace and no [[neighbour]]", deployment.name);
                Stop::Repository(format!("{text}; next: name it in `serves` of policy/stack.toml"))
            })?;
            service["image"] = format!("${{{}:?}}", neighbour.image_variable).into();
            if let Some(name) = neighbour.local_user.as_ref().filter(|_| own_bases.contains(&neighbour.base.as_str())) {
                let (number, of) = (user(container), &deployment.name);
                instead.push(format!("the user `{name}` of the home-made base for {number} of {of}"));
                run_as(&mut service, name);
            }
        }
        for network in &deployment.networks {
            networks.insert(network.clone(), json!({ "internal": true }));
        }
        let kept = deployment.writable.iter().filter(|path| !container.memory.contains_key(*path));
        let mounted =
            kept.map(|path| (format!("{}{}", deployment.name, path.replace('/', "-")), path)).collect::<Vec<_>>();
        service["volumes"] = mounted.iter().map(|(volume, path)| format!("{volume}:{path}")).collect();
        volumes.extend(mounted.into_iter().map(|(volume, _)| (volume, json!({}))));
        services.insert(deployment.name.clone(), service);
    }
    if let Some(gateway) = services.get_mut(&entrance.service) {
        let port = cluster
            .pairs()
            .find(|(_, one)| one.name == entrance.service)
            .and_then(|(one, _)| one.ports.first().copied());
        gateway["ports"] = json!([format!("127.0.0.1:${{{}}}:{}", entrance.variable, port.unwrap_or_default())]);
        gateway["networks"][OUTSIDE] = json!({});
    }
    Ok(ComposeFile { file: json!({ "services": services, "networks": networks, "volumes": volumes }), instead })
}

fn service(container: &Container, deployment: &Deployment, secrets: &Secrets) -> Value {
    let environment: Map<_, Value> = deployment
        .settings
        .iter()
        .map(|setting| {
            let value =
                setting.value.write(&|text| text.replace('$', "$$"), &|reference| from_env_file(reference, secrets));
            (setting.name.clone(), value.into())
        })
        .collect();
    let networks: Map<_, _> = deployment.networks.iter().map(|network| (network.clone(), json!({}))).collect();
    let memory = |(path, size): (&String, &String)| {
        let size = if size.is_empty() { String::new() } else { format!(",size={}", engine_size(size)) };
        format!("{path}:mode=1777{size}")
    };
    let temporary: Vec<_> = container.memory.iter().filter(|(path, _)| *path != SHARED_MEMORY).map(memory).collect();
    let mut service = json!({
        "environment": environment,
        "read_only": deployment.read_only,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "pull_policy": "never",
        "restart": "unless-stopped",
        "pids_limit": PROCESSES,
        "networks": networks,
        "tmpfs": temporary,
        "stop_grace_period": format!("{}s", container.grace_seconds),
    });
    run_as(&mut service, &user(container));
    // A `$` of Kubernetes is one of Compose only when it is doubled.
    let words = |words: &[String]| words.iter().map(|word| word.replace('$', "$$")).collect::<Value>();
    if let Some(command) = &container.command {
        service["entrypoint"] = words(command);
        // An entrypoint of its own takes the image's command away, in Kubernetes and in Compose.
    }
    if let Some(args) = &container.args {
        service["command"] = words(args);
    }
    if let Some(size) = container.memory.get(SHARED_MEMORY) {
        service["shm_size"] = engine_size(size).into();
    }
    if let Some(memory) = container.limits.get("memory") {
        service["mem_limit"] = engine_size(memory).into();
    }
    if let Some(cores) = container.limits.get("cpu") {
        service["cpus"] = cores.as_str().into();
    }
    if let Healthcheck::Command(words) = &deployment.healthcheck {
        let test: Vec<_> = std::iter::once("CMD").chain(words.iter().map(String::as_str)).collect();
        service["healthcheck"] = json!({ "test": test, "interval": "5s", "timeout": "3s", "start_period": "60s" });
    }
    service
}

fn run_as(service: &mut Value, user: &str) {
    if let Some(service) = service.as_object_mut() {
        service.insert(stringify!(user).to_owned(), user.into());
    }
}

/// What the engine does not do, in a sentence each.
fn left_out(container: &Container, name: &str) -> Vec<String> {
    let mut left = Vec::new();
    if container.has_post_start {
        left.push(format!("nothing for the postStart of {name}"));
    }
    if let Some(words) = &container.pre_stop {
        left.push(format!("the engine's stop signal for the preStop `{}` of {name}", words.join(" ")));
    }
    left.extend(
        container.fixed.iter().map(|(path, volume)| format!("nothing for the volume {volume} at {path} of {name}")),
    );
    left
}

fn user(container: &Container) -> String {
    let number = |number: Option<i64>| number.map(|number| number.to_string()).unwrap_or_default();
    let (user, group) = (number(container.run_as_user), number(container.run_as_group));
    if group.is_empty() { user } else { format!("{user}:{group}") }
}

/// `user-db.POSTGRES_PASSWORD` → `${USER_DATABASE_PASSWORD:?}`: the run's own secrets stand in the place of the cluster's. An
/// optional one may be missing here as there.
fn from_env_file(reference: &Reference, secrets: &Secrets) -> String {
    let known = reference.name.split_once('.').and_then(|(secret, key)| secrets.get(secret)?.get(key));
    let otherwise = if reference.is_required() { ":?" } else { ":-" };
    format!("${{{}{otherwise}}}", known.unwrap_or(&reference.name))
}

/// `64Mi` → `64m`: Compose reads k, m and g as powers of 1024.
fn engine_size(quantity: &str) -> String {
    quantity.strip_suffix('i').unwrap_or(quantity).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use xtask_env_audit::Policy;
    use xtask_env_audit::kubernetes::kustomize;
    use xtask_workspace::Project;

    use super::*;

    const PACKAGES: [&str; 4] = ["mini-gateway", "mini-order", "mini-product", "mini-user"];

    fn rendered(own_bases: &[&str]) -> ComposeFile {
        let project = Project::load(env!("CARGO_MANIFEST_DIR")).unwrap();
        let secrets = Policy::parse("env.toml", &project.policy("env.toml").unwrap()).unwrap().kubernetes.secrets;
        let cluster = Cluster::read(&kustomize::read_plain(&project.root, "k8s/base").unwrap(), &secrets);
        compose_file(&cluster, &PACKAGES, &secrets, &project.stack, own_bases).unwrap()
    }

    #[test]
    fn what_runs_is_what_the_manifests_say() {
        let user = &rendered(&[]).file["services"]["user"];
        assert_eq!(
            user["environment"]["DATABASE_URL"],
            "postgres://user:${USER_DATABASE_PASSWORD:?}@user-db:5432/user"
        );
        assert_eq!(user["environment"]["JWT_PUBLIC_KEY_PREVIOUS"], "${JWT_PUBLIC_KEY_PREVIOUS:-}");
        assert_eq!(user["environment"]["DRAIN_DELAY"], "5s");
        assert_eq!(
            (&user["user"], &user["read_only"], &user["mem_limit"]),
            (&"65532:65532".into(), &true.into(), &"128m".into())
        );
        assert_eq!(user["image"], "${MINI_USER_IMAGE:?}");
        assert_eq!(user["healthcheck"]["test"], json!(["CMD", "/mini-user", "healthcheck", "--ready"]));
        let networks: Vec<_> = user["networks"].as_object().unwrap().keys().cloned().collect();
        assert_eq!(networks, ["gateway-to-user", "user-to-user-db"]);
    }

    #[test]
    fn what_is_not_carried_out_is_named() {
        let instead = rendered(&[]).instead;
        let wanted = "the engine's stop signal for the preStop `pg_ctl stop --mode fast --no-wait` of user-db";
        assert!(instead.iter().any(|line| line == wanted), "{instead:?}");
        let mut container = Container::default();
        container.has_post_start = true;
        container.fixed.insert("/etc/x".to_owned(), "settings".to_owned());
        assert_eq!(left_out(&container, "user").len(), 2);
    }

    #[test]
    fn a_database_keeps_its_volume_and_its_user_unless_the_base_is_home_made() {
        let (official, own) = (rendered(&[]), rendered(&["postgres"]));
        let database = &official.file["services"]["user-db"];
        assert_eq!((&database["user"], &database["shm_size"]), (&"999:999".into(), &"64m".into()));
        assert_eq!(database["volumes"], json!(["user-db-var-lib-postgresql-data:/var/lib/postgresql/data"]));
        assert_eq!(own.file["services"]["user-db"]["user"], "postgres");
        assert!(own.instead.len() > official.instead.len());
    }
}
