//! `up`, `down` and their like: what they do in each state of the engine.

use std::net::TcpListener;

use crate::workspace::Workspace;

/// A workspace whose one image was built before, so that `up` goes straight to the stack.
fn workspace() -> Workspace {
    let workspace = Workspace::new();
    workspace.know_image(r#"{"service":"mini-user"}"#);
    workspace
}

/// One container of the project, as the engine shows it; `more` is what is said of it beside its ids.
fn one_container(folder: &str, restarts: u32, state: &str) -> String {
    format!(
        r#"  "docker ps --all --quiet --no-trunc"*) echo c1 ;;
  "docker inspect c1") echo '[{{"Id":"c1","Image":"sha256:user","RestartCount":{restarts},"State":{state},"Config":{{"Labels":{{"com.docker.compose.service":"user","com.docker.compose.project.working_dir":"{folder}"}},"Healthcheck":{{"Test":["CMD","/mini-user","healthcheck"]}}}},"HostConfig":{{"RestartPolicy":{{"Name":"unless-stopped"}}}}}}]'; exit 0 ;;
  *" config --format json") echo '{{"services":{{}}}}' ;;
"#
    )
}

const RUNNING: &str = r#"{"Status":"running","Health":{"Status":"healthy"}}"#;

fn cases(cases: &str) -> String {
    format!("case \"$call\" in\n{cases}esac")
}

#[test]
fn up_makes_secrets_and_a_project_of_this_checkouts_own() {
    let workspace = workspace();
    workspace.stub(&cases(&one_container("", 0, RUNNING)));
    let ended = workspace.xtask(&["up"]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    let env = workspace.read(".env");
    let project = env.lines().find_map(|line| line.strip_prefix("COMPOSE_PROJECT_NAME=")).unwrap();
    assert!(project.starts_with("mini-") && project.len() == "mini-".len() + 8, "{env}");
    assert!(workspace.calls().contains(&format!("--project-name {project} ")), "{}", workspace.calls());
    for said in [
        "the stack answers on http://127.0.0.1:1; try: curl -s http://127.0.0.1:1/products",
        "the administrator's password is ADMIN_PASSWORD in .env",
        "stop it with `cargo xtask down`",
    ] {
        assert!(ended.stdout.contains(said), "{said}: {}", ended.stdout);
    }
    assert!(!ended.stdout.contains("sha256:"), "{}", ended.stdout);
    // Another copy of the same workspace has another name.
    let other = self::workspace();
    other.stub(&cases(&one_container("", 0, RUNNING)));
    other.xtask(&["up"]);
    assert!(!other.read(".env").contains(project), "{}", other.read(".env"));
}

#[test]
fn an_env_file_from_before_keeps_the_project_that_compose_gives_it() {
    let workspace = workspace();
    workspace.write(".env", "ADMIN_PASSWORD=x\n");
    workspace.stub(&cases(&one_container("", 0, RUNNING)));
    let ended = workspace.xtask(&["up"]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert!(workspace.calls().contains("--project-name mini "), "{}", workspace.calls());
    // Case P05: what the policy asks for beside it is added, once, and what stood there stays.
    let first = workspace.read(".env");
    assert!(first.starts_with("ADMIN_PASSWORD=x\nORDER_DATABASE_PASSWORD="), "{first}");
    assert!(!ended.all().contains(first.lines().nth(1).unwrap().split('=').nth(1).unwrap()), "{}", ended.all());
    let ended = workspace.xtask(&["up"]);
    assert_eq!((ended.code, workspace.read(".env")), (0, first), "{}", ended.all());
}

#[test]
fn new_secrets_are_never_made_beside_databases_with_old_ones() {
    let workspace = workspace();
    workspace.stub(&cases("  \"docker volume ls\"*) echo shop_user-data ;;\n"));
    let ended = workspace.xtask(&["up"]);
    assert_eq!(ended.code, 3, "{}", ended.all());
    for said in ["there is no .env", "shop_user-data", "put that .env back", "`cargo xtask down --volumes`"] {
        assert!(ended.stdout.contains(said), "{said}: {}", ended.stdout);
    }
    assert!(!workspace.calls().contains(" up --detach"), "{}", workspace.calls());
    assert_eq!(workspace.read(".env"), "");
}

#[test]
fn a_container_that_crashed_before_and_runs_again_is_up() {
    let workspace = workspace();
    workspace.stub(&cases(&one_container("", 4, RUNNING)));
    let ended = workspace.xtask(&["up"]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    // The negative control: one that crashes since is not.
    let crashing = format!(
        "case \"$call\" in *\" up --detach\"*) touch \"$STATE/up\" ;; esac\n[ -e \"$STATE/up\" ] && count=5 || count=4\n{}",
        cases(&one_container("", 4, RUNNING).replace("\"RestartCount\":4", "\"RestartCount\":'$count'"))
    );
    workspace.stub(&crashing);
    let ended = workspace.xtask(&["up"]);
    assert_eq!(ended.code, 1, "{}", ended.all());
    assert!(ended.stdout.contains("user crashes and restarts (1 restarts)"), "{}", ended.all());
}

#[test]
fn a_service_that_does_not_come_up_is_named_first_with_its_log_and_the_next_step() {
    let workspace = workspace();
    let failing = format!(
        "  \"docker logs \"*) echo 'DATABASE_URL is missing' ;;\n  *\" logs --no-color\"*) echo whole ;;\n{}",
        one_container("", 2, r#"{"Status":"restarting","ExitCode":78}"#)
    );
    // The containers are new: before `up` there are none.
    let script = format!(
        "case \"$call\" in *\" up --detach\"*) touch \"$STATE/up\" ;; esac\n[ -e \"$STATE/up\" ] && case \"$call\" in\n{failing}esac"
    );
    workspace.stub(&format!("{script}\n{}", cases("  *\" config --format json\") echo '{\"services\":{}}' ;;\n")));
    let ended = workspace.xtask(&["up"]);
    assert_eq!(ended.code, 1, "{}", ended.all());
    let failed = ended.stdout.lines().find(|line| line.starts_with("FAILED up: ")).unwrap();
    assert!(
        failed.starts_with(
            "FAILED up: user crashes and restarts (2 restarts, last exit code 78: its configuration is refused"
        ),
        "{failed}"
    );
    assert!(failed.contains("all logs are in target/xtask/up.log; next: correct it and `cargo xtask up`"), "{failed}");
    assert!(ended.stderr.contains("DATABASE_URL is missing"), "{}", ended.stderr);
    assert!(workspace.read("target/xtask/up.log").contains("whole"));
    assert!(!workspace.calls().contains("docker rm"), "it is left to be looked at: {}", workspace.calls());
}

#[test]
fn a_taken_port_is_said_before_anything_starts_with_the_variable_that_moves_it() {
    let workspace = workspace();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let model = format!(
        r#"{{"services":{{"gateway":{{"ports":[{{"host_ip":"127.0.0.1","published":"{port}","protocol":"tcp"}}]}}}}}}"#
    );
    workspace.stub(&cases(&format!("  *\" config --format json\") echo '{model}' ;;\n")));
    let ended = workspace.xtask(&["up"]);
    assert_eq!(ended.code, 3, "{}", ended.all());
    let said = format!(
        "127.0.0.1:{port}, where gateway would answer, is taken, so nothing was started; next: `echo GATEWAY_PORT="
    );
    assert!(ended.stdout.contains(&said), "{}", ended.stdout);
    assert!(!workspace.calls().contains(" up --detach"), "{}", workspace.calls());
}

#[test]
fn a_port_that_is_taken_in_the_last_moment_leaves_nothing_half_way() {
    let workspace = workspace();
    let script = r#"  *" up --detach"*) touch "$STATE/up"; echo 'Bind for 127.0.0.1:8080 failed: port is already allocated' >&2; exit 1 ;;
  "docker ps --all --quiet --filter label=com.docker.compose.project="*) [ -e "$STATE/up" ] && echo db1 ;;
  *" config --format json") echo '{"services":{}}' ;;
"#;
    workspace.stub(&cases(script));
    let ended = workspace.xtask(&["up"]);
    assert_eq!(ended.code, 3, "{}", ended.all());
    assert!(ended.stdout.contains("next: set GATEWAY_PORT in .env to a free one"), "{}", ended.stdout);
    assert!(workspace.calls().contains("docker rm --force --volumes db1"), "{}", workspace.calls());
}

#[test]
fn the_stack_of_another_checkout_is_left_alone() {
    let workspace = workspace();
    workspace.write(".env", "COMPOSE_PROJECT_NAME=mini\n");
    // Any folder that is there and is not this checkout.
    workspace.stub(&cases(&one_container("/usr", 0, RUNNING)));
    for command in [&["up"][..], &["down"]] {
        let ended = workspace.xtask(command);
        assert_eq!(ended.code, 3, "{command:?}: {}", ended.all());
        assert!(
            ended.stdout.contains("refused: the Compose project mini is the stack of another checkout, /usr"),
            "{}",
            ended.stdout
        );
        assert!(ended.stdout.contains("echo COMPOSE_PROJECT_NAME=mini-"), "{}", ended.stdout);
    }
    for changing in [" up --detach", "docker stop", "docker rm"] {
        assert!(!workspace.calls().contains(changing), "{changing}: {}", workspace.calls());
    }
}

const LEFT: &str = r#"  "docker ps --all --filter label=com.docker.compose.project.working_dir="*) printf 'mini-e2e-1\nolder\n' ;;
  "docker ps --all --quiet --no-trunc"*) exit 0 ;;
  "docker ps --all --quiet --filter label=com.docker.compose.project=older") echo c1 ;;
  "docker network ls --quiet --filter label=com.docker.compose.project=older") echo n1 ;;
  "docker volume ls --quiet --filter label=com.docker.compose.project=older") echo v1 ;;
"#;

#[test]
fn down_finds_the_stack_by_its_label_when_there_is_no_env_file() {
    let workspace = workspace();
    workspace.stub(&cases(LEFT));
    let ended = workspace.xtask(&["down"]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert!(
        ended.stdout.contains("the databases stay (v1); `cargo xtask down --volumes` deletes them"),
        "{}",
        ended.stdout
    );
    let calls = workspace.calls();
    let (stop, remove) =
        (calls.find("docker stop -t 20 c1").unwrap(), calls.find("docker rm --force --volumes c1").unwrap());
    assert!(stop < remove && calls.contains("docker network rm n1") && !calls.contains("docker volume rm"), "{calls}");
    let ended = workspace.xtask(&["down", "--volumes"]);
    assert!(ended.stdout.contains("1 volumes removed"), "{}", ended.stdout);
    assert!(workspace.calls().contains("docker volume rm v1"), "{}", workspace.calls());
    // What runs no container and has no network needs no Compose, no base and no image either.
    assert!(!workspace.calls().contains("docker compose"), "{}", workspace.calls());
}

#[test]
fn down_without_a_stack_says_so() {
    let workspace = workspace();
    let ended = workspace.xtask(&["down"]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert!(ended.stdout.contains("no stack of this checkout is up (mini-"), "{}", ended.stdout);
}

#[test]
fn clean_leaves_the_stack_of_up_alone_and_names_it() {
    let workspace = workspace();
    workspace.stub(&cases(&one_container("", 0, RUNNING)));
    let ended = workspace.xtask(&["clean"]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert!(ended.stdout.contains("1 containers); next: `cargo xtask down`"), "{}", ended.stdout);
    assert!(!workspace.calls().contains("docker stop"), "{}", workspace.calls());
    workspace.stub(&cases(LEFT));
    let ended = workspace.xtask(&["clean", "--all"]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    let calls = workspace.calls();
    assert!(calls.contains("docker stop -t 20 c1") && !calls.contains("docker volume rm"), "{calls}");
}

#[test]
fn two_first_ups_at_once_both_work_with_one_set_of_secrets() {
    let workspace = workspace();
    workspace.stub(&cases(&one_container("", 0, RUNNING)));
    std::thread::scope(|scope| {
        let both = [(); 2].map(|()| scope.spawn(|| workspace.xtask(&["up"])));
        for ended in both.map(|run| run.join().unwrap()) {
            assert_eq!(ended.code, 0, "{}", ended.all());
        }
    });
    assert_eq!(workspace.calls().matches(" keygen").count(), 1, "{}", workspace.calls());
}

#[test]
fn what_one_strategy_built_is_what_the_next_commands_take_and_name() {
    let workspace = workspace();
    workspace.stub(&cases(&one_container("", 0, RUNNING)));
    let taken = |arguments: &[&str]| {
        let ended = workspace.xtask(arguments);
        assert_eq!(ended.code, 0, "{arguments:?}: {}", ended.all());
        ended.stdout
    };
    assert!(taken(&["up"]).contains("images: user (compiled in the builder container)"));
    // As an earlier build by the host left it. The host's compiler tells that it was called, and goes no further.
    workspace.write("target/xtask/built/user.strategy", "host");
    let auditable =
        "#!/bin/sh\n[ \"$*\" = 'auditable --version' ] && { echo 'cargo-auditable 0.7.7'; exit; }\nexit 1\n";
    workspace.stub_program("cargo-auditable", auditable);
    let before = workspace.calls().matches(" bake ").count();
    let ended = workspace.xtask(&["up"]);
    assert!(ended.code == 1 && ended.stderr.contains("auditable build --release"), "{}", ended.all());
    assert_eq!(workspace.calls().matches(" bake ").count(), before, "{}", ended.all());
    // Said outright, the container has it back, for later commands as well.
    taken(&["build-images", "--strategy", "container"]);
    assert_eq!(workspace.read("target/xtask/built/user.strategy"), "container");
    assert!(taken(&["up"]).contains("images: user (compiled in the builder container)"));
}

#[test]
fn what_the_dev_profile_built_is_for_up_alone() {
    let workspace = workspace();
    workspace.stub(&cases(&one_container("", 0, RUNNING)));
    workspace.write("target/xtask/built/user.strategy", "dev");
    let ended = workspace.xtask(&["audit-env"]);
    assert!(ended.stdout.contains("images: user (compiled in the builder container)"), "{}", ended.all());
    assert_eq!(workspace.read("target/xtask/built/user.strategy"), "dev", "the next `up` still knows");
}

#[test]
fn the_container_has_no_profile_of_this_machine() {
    let workspace = workspace();
    for arguments in [&["up", "--strategy", "container", "--profile", "dev"][..], &["up", "nobody"], &["restart"]] {
        let ended = workspace.xtask(arguments);
        assert_eq!(ended.code, 2, "{arguments:?}: {}", ended.all());
    }
    assert_eq!(workspace.calls(), "");
}

#[test]
fn ps_says_how_each_container_is_and_by_what_it_was_built() {
    let workspace = workspace();
    workspace.stub(&cases(&one_container("", 3, RUNNING)));
    workspace.xtask(&["up"]);
    let ended = workspace.xtask(&["ps"]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert!(ended.stdout.contains("user  running, healthy, 3 restarts so far, built by container"), "{}", ended.stdout);
}

#[test]
fn logs_are_in_the_order_of_time_with_their_service_in_front() {
    let workspace = workspace();
    let logs = "  \"docker logs --timestamps --tail 100 c1\") printf '2026-01-01T00:00:02Z second\\n2026-01-01T00:00:03Z third\\n'; echo '2026-01-01T00:00:01Z first' >&2 ;;\n";
    workspace.stub(&cases(&format!("{logs}{}", one_container("", 0, RUNNING))));
    let ended = workspace.xtask(&["logs", "user"]);
    assert!(ended.stdout.starts_with("user | first\nuser | second\nuser | third\n"), "{}", ended.all());
    let unknown = workspace.xtask(&["logs", "usr"]);
    assert_eq!(unknown.code, 2, "{}", unknown.all());
    assert!(unknown.stdout.contains("the stack has no service `usr`; its services are user"), "{}", unknown.stdout);
}

#[test]
fn followed_logs_go_on_with_the_container_that_replaces_another_and_end_with_the_stack() {
    let workspace = workspace();
    // Three looks at the stack: one container, then the one that replaced it, then none.
    let script = r#"  "docker ps --all --quiet --no-trunc"*)
    echo look >>"$STATE/looks"
    case $(wc -l <"$STATE/looks") in 1|2) echo c1 ;; 3|4) echo c2 ;; esac ;;
  "docker inspect c"*) echo "[{\"Id\":\"$2\",\"State\":{\"Status\":\"running\"},\"Config\":{\"Labels\":{\"com.docker.compose.service\":\"user\"}}}]" ;;
  "docker logs --follow --tail 100 c1") echo from the first ;;
  "docker logs --follow --tail all c2") echo from the second ;;
"#;
    workspace.stub(&cases(script));
    let ended = workspace.xtask(&["logs", "--follow"]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert!(ended.stdout.contains("user | from the first\nuser | from the second\n"), "{}", ended.all());
    assert!(ended.stderr.contains("the stack is down"), "{}", ended.all());
}

#[test]
fn followed_logs_end_with_ctrl_c_and_no_word_about_cleaning_up() {
    let workspace = workspace();
    let script = r#"  "docker ps --all --quiet --no-trunc"*) echo c1 ;;
  "docker inspect c"*) echo "[{\"Id\":\"$2\",\"State\":{\"Status\":\"running\"},\"Config\":{\"Labels\":{\"com.docker.compose.service\":\"user\"}}}]" ;;
  "docker logs --follow "*) exec sleep 60 ;;
"#;
    workspace.stub(&cases(script));
    let mut follow = workspace.start(&["--verbose", "logs", "--follow"]);
    // The first look is for the names on the command line, the second for what to follow.
    follow.until("docker inspect c1");
    follow.until("docker inspect c1");
    let (code, said) = follow.interrupt();
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("PASS logs") && !said.contains("interrupted"), "{said}");
}

#[test]
fn restart_restarts_what_is_named_and_waits_until_it_is_ready() {
    let workspace = workspace();
    workspace.write(".env", "");
    workspace.stub(&cases(&one_container("", 2, RUNNING)));
    let ended = workspace.xtask(&["restart", "user"]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    let calls = workspace.calls();
    let (restarted, probed) =
        (calls.find("docker restart -t 20 c1").unwrap(), calls.find("docker exec c1 /mini-user healthcheck").unwrap());
    assert!(restarted < probed, "{calls}");
}

#[test]
fn a_watch_answers_an_edit_survives_one_that_does_not_compile_and_ends_cleanly() {
    let workspace = workspace();
    let bake = r#"  "docker buildx bake "*) [ -e "$STATE/broken" ] && { echo "ERROR: it does not compile" >&2; exit 1; } ;;
"#;
    let states = one_container("", 0, RUNNING);
    workspace.stub(&cases(&format!("{bake}{states}")));
    let mut watch = workspace.start(&["up", "--watch"]);
    let idle = "watch: waiting for edits";
    watch.until(idle);
    // What no image is made of changes nothing.
    workspace.write("services/user/README.md", "words");
    workspace.write("compose.yaml", "services: {}\n# edited\n");
    assert!(watch.until(idle).contains("answers with it, "));
    workspace.write("../../state/broken", "");
    workspace.write("services/user/src/main.rs", "fn main() { nonsense }\n");
    let said = watch.until(idle);
    assert!(
        said.contains("watch: services/user/src/main.rs changed") && said.contains("the stack keeps running as it was"),
        "{said}"
    );
    let (code, said) = watch.interrupt();
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("the watch is over, and the stack keeps running; `cargo xtask down` stops it"), "{said}");
}
