//! `kubernetes-e2e --context` with a stub kubectl: what a real cluster cannot be made to show in a test.

use crate::e2e::with_known_image;
use crate::workspace::{CANARY, Ended, Workspace};

/// A kubectl that remembers in `$STATE` which namespaces there are. A test's own cases come first.
const KUBECTL: &str = r#"
case "$call" in
  "kubectl version --client") echo "Client Version: v1.36.2"; exit 0 ;;
  "kubectl config get-contexts --output name") printf 'renamed\nproduction\n'; exit 0 ;;
  "kubectl kustomize "*) printf 'kind: ConfigMap\nmetadata: { name: none }\none:\n  image: mini-user:local\ntwo:\n  image: postgres:17-trixie\n'; exit 0 ;;
  *" get nodes "*) echo "{\"items\":[{\"metadata\":{\"name\":\"n\"},\"spec\":{\"providerID\":\"${PROVIDER:-kind://docker/shop/n}\"},\"status\":{\"nodeInfo\":{\"architecture\":\"$ARCH\",\"kubeletVersion\":\"v1.36.2\",\"bootID\":\"elsewhere\"}}}]}"; exit 0 ;;
  *" get storageclasses "*) echo '{"items":[{"metadata":{"name":"standard","annotations":{"storageclass.kubernetes.io/is-default-class":"true"}}}]}'; exit 0 ;;
  *" get namespaces "*) cat "$STATE/namespaces" 2>/dev/null || echo '{"items":[]}'; exit 0 ;;
  *" create --save-config "*)
    name=$(sed 's/.*"name":"\([^"]*\)".*/\1/')
    echo "{\"items\":[{\"metadata\":{\"name\":\"$name\",\"labels\":{\"xtask.run\":\"$name\"}},\"status\":{\"conditions\":[{\"status\":\"True\",\"message\":\"some finalizers are in the way\"}]}}]}" >"$STATE/namespaces"; exit 0 ;;
  *" delete namespace "*) rm -f "$STATE/namespaces"; exit 0 ;;
  *" get persistentvolumes "*) echo '{"items":[]}'; exit 0 ;;
  *" apply --dry-run=server "*) echo 'deployment.apps/user created (server dry run)'; exit 0 ;;
  *" apply --server-side "*) cat >"$STATE/secrets"; exit 0 ;;
  *" apply "*|*" create --filename "*) cat >/dev/null; exit 0 ;;
  *" exec --stdin "*) cat >/dev/null; exit 0 ;;
  *" exec "*/dev/tcp/*) for word; do case "$word" in 10.*) echo "$word open" ;; esac; done; exit 0 ;;
  *" exec "*/proc/1/status*) printf "$KERNEL"; exit 0 ;;
  *" wait "*|*" debug "*|*" label "*) exit 0 ;;
  *" get pod gateway-1 "*) echo '{"status":{"ephemeralContainerStatuses":[{"name":"xtask-probe","state":{"running":{}}}]}}'; exit 0 ;;
  *" get deployments,statefulsets,pods,events "*) echo "{\"items\":[$DEPLOYMENT,$SET${MORE:+,$MORE}]}"; exit 0 ;;
  *" port-forward "*) echo 'Forwarding from 127.0.0.1:1 -> 8080'; exec sleep 20 ;;
  *" get "*) echo '{"items":[]}'; exit 0 ;;
esac
echo "unexpected: $call" >&2; exit 1
"#;

/// One Deployment that is ready and its pod; a StatefulSet and its pod.
const READY: &str = r#"{"kind":"Deployment","metadata":{"name":"gateway","generation":1},"spec":{"replicas":1,"selector":{"matchLabels":{"app":"gateway"}},"template":{"spec":{"containers":[{"name":"gateway","ports":[{"containerPort":8080}]}]}}},"status":{"observedGeneration":1,"replicas":1,"updatedReplicas":1,"availableReplicas":1}},{"kind":"Pod","metadata":{"name":"gateway-1","labels":{"app":"gateway"}},"spec":{"automountServiceAccountToken":false},"status":{"podIP":"10.0.0.1"}}"#;
const NOT_READY: &str = r#"{"kind":"Deployment","metadata":{"name":"gateway","generation":1},"spec":{"replicas":1,"selector":{"matchLabels":{"app":"gateway"}},"template":{"spec":{"containers":[{"name":"gateway"}]}}},"status":{"observedGeneration":1,"replicas":1,"updatedReplicas":1}}"#;
const SET: &str = r#"{"kind":"StatefulSet","metadata":{"name":"db","generation":1},"spec":{"replicas":1,"selector":{"matchLabels":{"app":"db"}},"template":{"spec":{"containers":[{"name":"db","image":"postgres:17","ports":[{"containerPort":5432}]}]}}},"status":{"observedGeneration":1,"replicas":1,"updatedReplicas":1,"availableReplicas":1}},{"kind":"Pod","metadata":{"name":"db-0","labels":{"app":"db"}},"spec":{"automountServiceAccountToken":false},"status":{"podIP":"10.0.0.2"}}"#;
/// What a hardened program's kernel says, and the refusal of a write into its root.
const KERNEL: &str = "Uid:\\t1\\t1\\t1\\t1\\nCapEff:\\t0000000000000000\\nNoNewPrivs:\\t1\\nSeccomp:\\t2\\nRoot: Read-only file system\\nToken: \\n";

struct Cluster {
    workspace: Workspace,
}

impl Cluster {
    /// `cases` are the lines of a shell's `case` over `$call`, before those of the stub; `set` sets its variables.
    fn new(set: &str, cases: &str) -> Self {
        let workspace = Workspace::new();
        with_known_image(&workspace);
        workspace.write("e2e/src/main.rs", "fn main() { println!(\"{{}}\"); }\n");
        for overlay in ["local", "production"] {
            workspace.write(&format!("k8s/overlays/{overlay}/kustomization.yaml"), "resources: []\n");
        }
        // What is done under load takes a load: that is tried on a real cluster.
        let policy = workspace.read("xtask/policy/stack.toml");
        let (without_faults, _) = policy.split_once("[[cluster.fault]]").unwrap();
        workspace.write("xtask/policy/stack.toml", without_faults);
        let state = workspace.root.join("../../state").canonicalize().unwrap();
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        let script = format!(
            "#!/bin/sh\nSTATE='{}'; ARCH={architecture}; DEPLOYMENT='{READY}'; SET='{SET}'; KERNEL='{KERNEL}'; {set}\ncall=\"kubectl $*\"\nprintf '%s\\n' \"$call\" >>\"$STATE/calls.log\"\ncase \"$call\" in\n{cases}\nesac\n{KUBECTL}",
            state.display()
        );
        workspace.stub_program("kubectl", &script);
        workspace.stub_program(
            "kind",
            &format!("#!/bin/sh\nprintf 'kind %s\\n' \"$*\" >>'{}/calls.log'\n", state.display()),
        );
        Self { workspace }
    }

    fn run(&self, more: &[&str]) -> Ended {
        self.workspace.xtask(&[&["kubernetes-e2e", "--context", "renamed"], more].concat())
    }

    fn calls(&self) -> String {
        self.workspace.calls()
    }

    /// No object was made, changed or deleted.
    #[track_caller]
    fn assert_untouched(&self) {
        for verb in [" create ", " apply ", " delete ", " label "] {
            assert!(
                !self.calls().lines().any(|call| call.starts_with("kubectl") && call.contains(verb)),
                "{}",
                self.calls()
            );
        }
    }

    #[track_caller]
    fn assert_torn_down(&self) {
        assert!(self.calls().contains(" delete namespace "), "{}", self.calls());
        assert!(self.workspace.read("../../state/namespaces").is_empty());
    }
}

#[test]
fn a_run_names_its_context_in_every_call_and_leaves_nothing() {
    let cluster = Cluster::new("", "");
    let ended = cluster.run(&[]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    for call in cluster.calls().lines().filter(|call| call.starts_with("kubectl ")) {
        let is_local =
            ["version --client", "config get-contexts", "kustomize "].iter().any(|one| call[8..].starts_with(one));
        assert!(is_local || call.starts_with("kubectl --context renamed "), "{call}");
    }
    cluster.assert_torn_down();
    // The values travel on standard input and stay out of everything else.
    assert!(cluster.workspace.read("../../state/secrets").contains(CANARY));
    assert!(!cluster.calls().contains(CANARY) && !ended.all().contains(CANARY));
    assert!(!cluster.workspace.read("target/xtask/reports/kubernetes-e2e.json").contains(CANARY));
}

#[test]
fn images_go_into_kind_by_the_name_that_its_nodes_say_whatever_the_context_is_called() {
    let cluster = Cluster::new("", "");
    cluster.run(&[]);
    assert!(cluster.calls().contains("kind load docker-image --name shop mini-user:id-user"), "{}", cluster.calls());
}

#[test]
fn an_unknown_context_is_a_usage_error_and_nothing_is_asked_of_any_cluster() {
    let cluster = Cluster::new("", "");
    let ended = cluster.workspace.xtask(&["kubernetes-e2e", "--context", "nope"]);
    assert_eq!(ended.code, 2, "{}", ended.all());
    assert!(ended.stdout.contains("no context `nope`; it has renamed, production"), "{}", ended.all());
    assert!(!cluster.calls().contains("--context"), "{}", cluster.calls());
    assert!(!cluster.calls().contains("buildx bake"), "{}", cluster.calls());
}

#[test]
fn expired_credentials_are_named_with_what_to_do() {
    let cluster = Cluster::new(
        "",
        "*\" get nodes \"*) echo 'error: You must be logged in to the server (Unauthorized)' >&2; exit 1 ;;",
    );
    let ended = cluster.run(&[]);
    assert_eq!(ended.code, 3, "{}", ended.all());
    let next = "does not accept your credentials: error: You must be logged in to the server (Unauthorized); next: log in again, then kubectl --context renamed auth whoami";
    assert!(ended.stdout.contains(next), "{}", ended.all());
    cluster.assert_untouched();
}

#[test]
fn a_cluster_elsewhere_is_left_alone_without_allow_writes() {
    let cluster = Cluster::new("PROVIDER=aws:///eu/i-1", "");
    let ended = cluster.run(&[]);
    assert_eq!(ended.code, 2, "{}", ended.all());
    assert!(
        ended.stdout.contains("does not run on this machine, so nothing was done; --allow-writes"),
        "{}",
        ended.all()
    );
    cluster.assert_untouched();
    // Allowed, but nothing here loads images into it.
    let ended = cluster.run(&["--allow-writes"]);
    assert!(ended.stdout.contains("--registry REGISTRY"), "{}", ended.all());
    cluster.assert_torn_down();
}

#[test]
fn without_a_default_storage_class_nothing_is_made() {
    let cluster = Cluster::new(
        "",
        "*\" get storageclasses \"*) echo '{\"items\":[{\"metadata\":{\"name\":\"slow\"}}]}'; exit 0 ;;",
    );
    let ended = cluster.run(&[]);
    assert_eq!(ended.code, 3, "{}", ended.all());
    assert!(ended.stdout.contains("no default storage class (only slow)"), "{}", ended.all());
    cluster.assert_untouched();
}

#[test]
fn each_warning_of_the_api_server_is_a_finding() {
    let cluster = Cluster::new(
        "",
        "*\" apply --dry-run=server \"*) echo 'Warning: would violate PodSecurity' >&2; echo 'x created (server dry run)'; exit 0 ;;",
    );
    let ended = cluster.run(&[]);
    assert_eq!(ended.code, 1, "{}", ended.all());
    assert!(ended.stdout.contains("the API server warns: would violate PodSecurity"), "{}", ended.all());
    assert!(ended.stdout.contains("k8s/overlays/local") && ended.stdout.contains("k8s/overlays/production"));
    cluster.assert_torn_down();
}

#[test]
fn a_namespace_that_exists_is_refused_and_not_deleted() {
    let cluster = Cluster::new(
        "",
        "*\" create --save-config \"*) cat >/dev/null; echo 'Error from server (AlreadyExists): namespaces \"x\" already exists' >&2; exit 1 ;;",
    );
    let ended = cluster.run(&[]);
    assert_eq!(ended.code, 3, "{}", ended.all());
    assert!(ended.stdout.contains("exists already and is left alone"), "{}", ended.all());
    let calls = cluster.calls();
    assert!(!calls.contains(" apply ") && !calls.contains(" delete "), "{calls}");
}

#[test]
fn an_image_that_cannot_be_pulled_ends_the_wait_at_once() {
    let pod = r#"{"kind":"Pod","metadata":{"name":"gateway-1","labels":{"app":"gateway"}},"status":{"containerStatuses":[{"name":"gateway","restartCount":0,"state":{"waiting":{"reason":"ErrImagePull","message":"no such host"}}}]}}"#;
    let cluster = Cluster::new(&format!("DEPLOYMENT='{NOT_READY}'; MORE='{pod}'"), "");
    let ended = cluster.run(&[]);
    assert_eq!(ended.code, 1, "{}", ended.all());
    assert!(ended.stdout.contains("gateway in pod gateway-1: ErrImagePull: no such host"), "{}", ended.all());
    let asked = cluster.calls().matches(" get deployments,statefulsets,pods,events ").count();
    assert_eq!(asked, 1, "{}", cluster.calls());
    cluster.assert_torn_down();
}

#[test]
fn pods_that_the_quota_refuses_are_a_failure_with_its_words() {
    let refused = NOT_READY.replace(
        r#""updatedReplicas":1"#,
        r#""conditions":[{"type":"ReplicaFailure","status":"True","message":"pods \"gateway-1\" is forbidden: exceeded quota: small"}]"#,
    );
    let cluster = Cluster::new(&format!("DEPLOYMENT='{refused}'"), "");
    let ended = cluster.run(&[]);
    assert_eq!(ended.code, 1, "{}", ended.all());
    assert!(
        ended.stdout.contains("deployment/gateway: no pod is let in:")
            && ended.stdout.contains("exceeded quota: small"),
        "{}",
        ended.all()
    );
    cluster.assert_torn_down();
}

#[test]
fn a_namespace_that_does_not_end_is_told_with_the_reason_it_gives() {
    let cluster =
        Cluster::new("", "*\" delete namespace \"*) echo 'error: timed out waiting for the condition' >&2; exit 1 ;;");
    let ended = cluster.run(&[]);
    assert_eq!(ended.code, 3, "{}", ended.all());
    let told = "is still there 180 s after its deletion: some finalizers are in the way";
    assert!(ended.stdout.contains(told), "{}", ended.all());
}

#[test]
fn a_live_pod_that_is_weaker_than_its_manifest_is_a_finding() {
    let cluster = Cluster::new("KERNEL='Uid:\\t0\\t0\\t0\\t0\\n'", "");
    let ended = cluster.run(&[]);
    assert_eq!(ended.code, 1, "{}", ended.all());
    for told in ["pod/gateway-1", "gateway: the kernel says Uid: 0", "db: the kernel says Seccomp: unknown"] {
        assert!(ended.stdout.contains(told), "{told}: {}", ended.all());
    }
    cluster.assert_torn_down();
}

#[test]
fn a_cluster_that_enforces_no_network_policy_is_reported_as_not_checked() {
    let cluster = Cluster::new("", "");
    let ended = cluster.run(&[]);
    assert!(ended.stdout.contains("does not enforce NetworkPolicies"), "{}", ended.all());
}

#[test]
fn what_a_killed_run_left_goes_by_its_label_and_a_kept_one_stays() {
    let cluster = Cluster::new("", "");
    let left = r#"{"items":[{"metadata":{"name":"mini-e2e-dead","labels":{"xtask.run":"mini-e2e-dead"}}}]}"#;
    std::fs::write(cluster.workspace.root.join("../../state/namespaces"), left).unwrap();
    let ended = cluster.run(&["--keep"]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    let calls = cluster.calls();
    assert!(calls.contains(" delete namespace --ignore-not-found --timeout=180s mini-e2e-dead"), "{calls}");
    // Its own namespace stays, marked, and the way to end it is told.
    assert!(
        calls.contains(" label namespace --selector xtask.run=mini-e2e-") && calls.contains("xtask.kept=true"),
        "{calls}"
    );
    assert!(calls.contains(",!xtask.kept "), "{calls}");
    assert!(
        ended.stdout.contains("end it with: kubectl --context renamed delete namespace mini-e2e-"),
        "{}",
        ended.all()
    );
    assert_eq!(calls.matches(" delete namespace ").count(), 1, "{calls}");
}
