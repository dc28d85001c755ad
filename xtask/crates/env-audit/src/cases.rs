//! Faults from the field, each planted into the repository's own places: found by its rule, and no value told.

use serde_json::{Value, json};

use super::mutations::repository;
use super::places::{DockerfilePlace, NamedFile, Places};
use super::rules;
use super::view::View;

const CANARY: &str = "S3CR3T-c4n4ry";

/// Plants a fault and gives `place [rule] message` of everything that is found.
fn found(plant: impl FnOnce(&mut Places)) -> Vec<String> {
    let mut places = repository();
    plant(&mut places);
    let policy = crate::repository::policy();
    let findings = rules::check(&View::new(&places, &policy));
    let told: Vec<_> = findings.found.iter().map(|found| found.finding.to_string()).collect();
    assert!(!told.iter().chain(&findings.notes).any(|line| line.contains(CANARY)), "{told:?}");
    told
}

#[track_caller]
fn assert_found(found: &[String], place: &str, rule: &str, words: &str) {
    let rule = format!("[{rule}]");
    let is_it = |line: &String| line.starts_with(place) && line.contains(&rule) && line.contains(words);
    assert!(found.iter().any(is_it), "{place} {rule} {words}: {found:#?}");
}

fn service<'a>(places: &'a mut Places, name: &str) -> &'a mut Value {
    &mut places.compose[0].rendered["services"][name]
}

fn edit_dockerfile(places: &mut Places, line: &str) {
    let text = &mut places.dockerfiles[0].text;
    *text = text.replacen("USER 65532:65532", &format!("{line}\nUSER 65532:65532"), 1);
}

fn named_file(text: &str, mode: u32) -> NamedFile {
    NamedFile { name: "the-file".into(), bytes: text.as_bytes().into(), mode, user: 0, group: 0, is_committed: false }
}

#[test]
fn f01_a_dollar_sign_in_an_env_file_is_found_by_name() {
    let found = found(|places| {
        places.files.insert("/x/svc.env".into(), named_file("LOG_LEVEL='info'\nJWT_ISSUER=corr3ct$battery\n", 0o644));
        service(places, "product")["env_file"] = json!([{ "path": "/x/svc.env" }]);
    });
    assert_found(&found, "the-file:2", "dollar-in-value", "JWT_ISSUER of product");
    assert!(!found.iter().any(|line| line.contains("battery")), "{found:?}");
}

#[test]
fn f02_an_env_file_that_its_readers_disagree_about_is_found() {
    let found = found(|places| {
        let text = "\u{feff}JWT_ISSUER=mini-user\r\nJWT_ISSUER=\"x\"\n";
        places.files.insert("/x/svc.env".into(), named_file(text, 0o644));
        service(places, "product")["env_file"] = json!([{ "path": "/x/svc.env" }]);
    });
    assert_found(&found, "the-file:1", "env-file-form", "byte order mark");
    assert_found(&found, "the-file:1", "env-file-form", "carriage returns");
    assert_found(&found, "the-file:2", "env-file-form", "JWT_ISSUER a second time");
}

#[test]
fn f03_the_entry_that_wins_is_named() {
    let mut places = repository();
    places.files.insert("/x/svc.env".into(), named_file("PRODUCT_URL=http://elsewhere:1\n", 0o644));
    service(&mut places, "order")["env_file"] = json!([{ "path": "/x/svc.env" }]);
    let policy = crate::repository::policy();
    let findings = rules::check(&View::new(&places, &policy));
    assert!(findings.found.is_empty(), "{:?}", findings.found);
    let note = "PRODUCT_URL of order in the-file:1 is overridden by compose.yaml:";
    assert!(findings.notes.iter().any(|line| line.starts_with(note)), "{:?}", findings.notes);
}

#[test]
fn h06_a_secret_in_a_build_is_found_wherever_it_stands() {
    for (line, rule, words) in [
        (format!("ARG JWT_SIGNING_KEY={CANARY}"), "secret-in-build-argument", "JWT_SIGNING_KEY"),
        ("ARG NPM_TOKEN".to_owned(), "secret-in-build-argument", "NPM_TOKEN"),
        (format!("ENV ADMIN_PASSWORD={CANARY}"), "secret-in-image", "ADMIN_PASSWORD"),
        (format!("ENV DATABASE_URL=postgres://user:{CANARY}@db/user"), "secret-in-image", "DATABASE_URL"),
        (format!("LABEL api_key={CANARY}"), "secret-in-image", "api_key"),
        (format!("ONBUILD ENV ADMIN_PASSWORD={CANARY}"), "secret-in-image", "ADMIN_PASSWORD"),
        (format!("RUN echo ADMIN_PASSWORD={CANARY} >/x"), "secret-literal", "ADMIN_PASSWORD"),
        (format!("RUN curl https://me:{CANARY}@example.invalid/"), "secret-literal", "a URL with a password"),
    ] {
        let found = found(|places| edit_dockerfile(places, &line));
        assert_found(&found, "", rule, words);
    }
    for line in ["ENV CLOUD_CREDENTIALS=/run/secrets/x", "ENV CLOUD_SECRET=", "ENV EMPTY_PASSWORD=yes"] {
        let found = found(|places| edit_dockerfile(places, line));
        assert!(!found.iter().any(|line| line.contains("[secret-")), "{found:?}");
    }
    let innocent = found(|places| edit_dockerfile(places, "ENV RUST_LOG=info"));
    assert!(!innocent.iter().any(|line| line.contains("secret")), "{innocent:?}");
    assert_found(&innocent, "", "unknown-variable", "RUST_LOG");
}

#[test]
fn h06_a_secret_in_an_image_is_found_wherever_it_stands() {
    let env = |entry: String| move |places: &mut Places| places.images[0].config["Env"] = json!([entry]);
    let image = "image of gateway";
    assert_found(&found(env(format!("ADMIN_PASSWORD={CANARY}"))), image, "secret-in-image", "ADMIN_PASSWORD");
    let history = format!("RUN |1 NPM_TOKEN={CANARY} /bin/sh -c make # buildkit");
    assert_found(&found(|places| places.images[0].history.push(history)), image, "secret-in-image", "NPM_TOKEN");
    let label = found(|places| places.images[0].config["Labels"] = json!({ "db.password": CANARY, "title": "x" }));
    assert!(label.iter().any(|line| line.contains("db.password")), "{label:?}");
    let later = found(|places| places.images[0].config["OnBuild"] = json!([format!("ENV ADMIN_PASSWORD={CANARY}")]));
    assert_found(&later, image, "secret-in-image", "ADMIN_PASSWORD");
}

#[test]
fn h06_the_value_of_a_local_secret_is_recognised_under_any_name() {
    let env = format!("JWT_SIGNING_KEY={CANARY}-and-more\n");
    let found = found(|places| {
        places.env = Some(env.into_bytes());
        places.images[0].history.push(format!("RUN echo {CANARY}-and-more"));
        places.workflows.push((".github/workflows/x.yml".into(), format!("on: push\nname: {CANARY}-and-more\n")));
    });
    assert_found(&found, "image of gateway", "secret-in-image", "the value that JWT_SIGNING_KEY has in .env");
    assert_found(&found, ".github/workflows/x.yml:2", "secret-literal", "JWT_SIGNING_KEY");
}

#[test]
fn h06_a_secret_in_compose_is_found_and_one_for_local_use_is_allowed() {
    let literal = |places: &mut Places| {
        service(places, "user")["environment"]["ADMIN_PASSWORD"] = json!(CANARY);
        service(places, "user")["environment"]["DATABASE_URL"] =
            json!(format!("postgres://user:{CANARY}@user-db:5432/user"));
        service(places, "user")["build"] = json!({ "args": { "NPM_TOKEN": CANARY } });
    };
    let planted = found(literal);
    assert_found(&planted, "compose.yaml:", "secret-literal", "ADMIN_PASSWORD of user");
    assert_found(&planted, "compose.yaml:", "secret-literal", "DATABASE_URL of user");
    assert_found(&planted, "compose.yaml:", "secret-in-build-argument", "NPM_TOKEN");
    let local = found(|places| {
        literal(places);
        service(places, "user")["profiles"] = json!(["local"]);
    });
    assert!(!local.iter().any(|line| line.contains("[secret-literal]")), "{local:?}");
}

#[test]
fn h06_workflows_take_secrets_by_reference_only() {
    let workflow = format!(
        "jobs:\n  x:\n    env:\n      ADMIN_PASSWORD: {CANARY}\n      JWT_SIGNING_KEY: ${{{{ secrets.KEY }}}}\n      PORT: many\n    steps:\n      - run: NPM_TOKEN={CANARY} npm publish\n"
    );
    let found = found(|places| places.workflows.push((".github/workflows/x.yml".into(), workflow)));
    assert_found(&found, ".github/workflows/x.yml:4", "secret-literal", "ADMIN_PASSWORD");
    assert_found(&found, ".github/workflows/x.yml:6", "malformed-value", "PORT");
    assert_found(&found, ".github/workflows/x.yml:8", "secret-literal", "NPM_TOKEN");
    assert_eq!(found.len(), 3, "{found:?}");
}

/// A line of `.env` may be there for another one, or for a service that takes the whole file.
#[test]
fn a_variable_that_another_line_or_a_service_takes_has_an_effect() {
    let unknown = |text: &str, is_taken_whole: bool| {
        let found = found(|places| {
            places.env = Some(text.as_bytes().into());
            if is_taken_whole {
                let file = NamedFile { name: ".env".into(), is_committed: false, ..named_file(text, 0o600) };
                places.files.insert("/x/.env".into(), file);
                service(places, "user-db")["env_file"] = json!([{ "path": "/x/.env" }]);
            }
        });
        let is_it = |line: &&String| line.starts_with(".env:") && line.contains("taken by no Compose file");
        found.iter().filter(is_it).count()
    };
    assert_eq!(unknown("HOST_PART=x\nLOG_LEVEL=$HOST_PART\n", false), 1, "LOG_LEVEL alone");
    assert_eq!(unknown("HOST_PART=x\n", false), 1);
    assert_eq!(unknown("HOST_PART=x\n", true), 0);
}

/// Which file of several somebody starts, nobody knows.
#[test]
fn a_variable_that_another_compose_file_of_the_folder_takes_is_not_unknown() {
    let unknown = |file: &str, text: &str| {
        let found = found(|places| {
            places.env = Some("GRAFANA_IMAGE=x\n".into());
            places.compose_texts = vec![(file.to_owned(), text.to_owned())];
        });
        found.iter().any(|line| line.contains("GRAFANA_IMAGE is taken by no Compose file"))
    };
    assert!(!unknown("compose.more.yaml", "services: { g: { image: \"${GRAFANA_IMAGE}\" } }"));
    assert!(unknown("compose.more.yaml", "services: { g: { image: \"${GRAFANA_IMAGE_2}\" } }"));
    assert!(unknown("compose.yaml", "# GRAFANA_IMAGE"), "that one is read");
}

#[test]
fn one_variable_with_two_rules_is_told_with_both() {
    let told = |one: &str, other: &str| {
        let found = found(|places| {
            service(places, "user")["labels"] = json!({ "a": one });
            service(places, "order")["labels"] = json!({ "a": other });
        });
        found.into_iter().find(|line| line.contains("[different-default]"))
    };
    for same in ["${HOST_X-}", "${HOST_X:-}", "${HOST_X}"] {
        assert_eq!(told("${HOST_X}", same), None, "{same}");
    }
    let rules = told("${HOST_X:?x}", "${HOST_X:-a}").unwrap();
    assert!(
        rules.contains("everywhere: `a` by default in compose.yaml:") && rules.contains(", required in "),
        "{rules}"
    );
}

/// A program of others, in every form that gives it a variable.
#[test]
fn a_secret_of_a_program_without_a_contract_is_known_by_its_name() {
    let told = |value: Value, is_committed: bool| {
        let found = found(|places| {
            let file = NamedFile { name: "x.env".into(), is_committed, ..named_file("FILE_PASSWORD=hunter2\n", 0o644) };
            places.files.insert("/x/x.env".into(), file);
            let environment = json!({ "CACHE_PASSWORD": value, "CACHE_USER": "x" });
            places.compose[0].rendered["services"]["cache"] =
                json!({ "image": "cache", "environment": environment, "env_file": [{ "path": "/x/x.env" }] });
        });
        let names = ["CACHE_PASSWORD", "FILE_PASSWORD", "CACHE_USER"].into_iter();
        let is_told = |name: &&str| {
            found.iter().any(|line| line.contains("[secret-literal]") && line.contains(&format!("{name} of cache")))
        };
        names.filter(is_told).collect::<Vec<_>>()
    };
    assert_eq!(told(json!("hunter2"), true), ["CACHE_PASSWORD", "FILE_PASSWORD"]);
    assert_eq!(told(json!("${CACHE:-hunter2}"), false), ["CACHE_PASSWORD"]);
    for value in [json!("${CACHE:?x}"), json!(null), json!(""), json!("true"), json!(30), json!("/run/secrets/x")] {
        assert_eq!(told(value, false), Vec::<&str>::new());
    }
}

/// Compose takes a variable also by its bare name, and what an override takes is taken.
#[test]
fn a_variable_without_a_dollar_sign_or_of_an_override_has_an_effect() {
    let found = found(|places| {
        let names = ["HOST_ARG", "HOST_BARE", "HOST_CONTENT", "HOST_OTHER", "HOST_LOST"];
        places.env = Some(names.map(|name| format!("{name}=x\n")).concat().into());
        service(places, "user")["build"]["args"] = json!(["HOST_ARG"]);
        let rendered = &mut places.compose[0].rendered;
        rendered["services"]["user-db"]["environment"]["HOST_BARE"] = Value::Null;
        rendered["configs"] = json!({ "c": { "environment": "HOST_CONTENT" } });
        let mut other = places.compose[0].clone();
        other.rendered["name"] = "${HOST_OTHER}".into();
        places.compose.push(other);
    });
    let unknown: Vec<_> = found.iter().filter(|line| line.contains("taken by no Compose file")).collect();
    assert_eq!(unknown.len(), 1, "{unknown:#?}");
    assert!(unknown[0].contains("HOST_LOST"), "{unknown:#?}");
}

/// Compose starts `${COMPOSE_PROJECT_NAME:?}` without an env file.
#[test]
fn the_name_of_the_project_is_set_by_compose() {
    let found = found(|places| {
        places.env = Some("A=${B}\n".into());
        places.compose[0].rendered["x"] = "${COMPOSE_PROJECT_NAME:?}".into();
    });
    assert!(!found.iter().any(|line| line.contains("COMPOSE_PROJECT_NAME")), "{found:#?}");
}

/// A stage without a name is nobody else's, and nothing in it stands before the first one.
#[test]
fn stages_without_a_name_are_not_compared() {
    let found = found(|places| {
        for (file, value) in [("a/Dockerfile", 1), ("b/Dockerfile", 2)] {
            let text = format!("FROM scratch\nENV A={value}\n");
            places.dockerfiles.push(DockerfilePlace { service: "x".into(), file: file.into(), text });
        }
    });
    assert_eq!(found, Vec::<String>::new());
}

/// Two stages of one name are only meant to be one when they begin alike.
#[test]
fn stages_that_begin_otherwise_are_not_compared() {
    let found = |first: &str, second: &str| {
        found(|places| {
            for (file, text) in [("a/Dockerfile", first), ("b/Dockerfile", second)] {
                let (service, file, text) = ("x".into(), file.into(), text.to_owned());
                places.dockerfiles.push(DockerfilePlace { service, file, text });
            }
        })
    };
    let go = "ARG V=1\nFROM golang AS builder\nENV A=1\n";
    assert_eq!(found(go, "ARG W=1\nFROM node AS builder\nENV B=1\n"), Vec::<String>::new());
    let alike = found(go, "ARG V=2\nFROM golang AS builder\nENV A=1\nENV B=1\n");
    assert_found(
        &alike,
        "a/Dockerfile",
        "different-build",
        "V is not before the first stage what it is in b/Dockerfile",
    );
    assert_found(&alike, "a/Dockerfile", "different-build", "B is missing in the stage builder; b/Dockerfile has it");
    assert_eq!(alike.len(), 2, "{alike:#?}");
}

/// BuildKit stops at the first line that it does not know.
#[test]
fn a_dockerfile_that_cannot_be_read_is_one_finding() {
    let found = found(|places| edit_dockerfile(places, "on: push\njobs: x\nENV"));
    let told: Vec<_> = found.iter().filter(|line| line.contains("[unreadable-value]")).collect();
    assert_eq!(told.len(), 1, "{told:#?}");
}

#[test]
fn d01_a_healthcheck_that_cannot_run_is_found() {
    for (test, rule) in [
        (json!({ "test": "/mini-user healthcheck" }), "shell-healthcheck"),
        (json!({ "test": ["CMD-SHELL", "curl -f http://localhost/"] }), "shell-healthcheck"),
        (json!({ "test": ["NONE"] }), "no-healthcheck"),
        (json!({ "disable": true }), "no-healthcheck"),
        (json!({ "test": ["CMD", "/probe", "http://localhost:8080/"] }), "localhost-healthcheck"),
    ] {
        let found = found(|places| service(places, "user")["healthcheck"] = test);
        assert_found(&found, "compose.yaml:", rule, "user");
    }
    let dockerfile = found(|places| {
        let text = &mut places.dockerfiles[0].text;
        *text = text.replace("CMD [\"/mini-gateway\", \"healthcheck\"]", "CMD /mini-gateway healthcheck");
    });
    assert_found(&dockerfile, "gateway/Dockerfile:", "shell-healthcheck", "gateway");
    // What another base has in it, nobody knows here.
    let other = found(|places| {
        let text = &mut places.dockerfiles[0].text;
        *text = text.replace("CMD [\"/mini-gateway\", \"healthcheck\"]", "CMD /mini-gateway healthcheck");
        *text = text.replace("FROM scratch", "FROM alpine");
    });
    assert!(!other.iter().any(|line| line.contains("[shell-healthcheck]")), "{other:?}");
    let image = found(|places| places.images[0].config["Healthcheck"] = json!({ "Test": ["CMD-SHELL", "x"] }));
    assert_found(&image, "image of gateway", "shell-healthcheck", "gateway");
}

#[test]
fn e03_a_database_probe_over_the_socket_is_found() {
    for (test, is_found) in [
        (json!(["CMD", "pg_isready", "-U", "user"]), true),
        (json!(["CMD-SHELL", "pg_isready -U user"]), true),
        (json!(["CMD", "pg_isready", "-h", "127.0.0.1"]), false),
        (json!(["CMD-SHELL", "pg_isready --host=127.0.0.1"]), false),
    ] {
        let found = found(|places| service(places, "user-db")["healthcheck"] = json!({ "test": test }));
        assert_eq!(found.iter().any(|line| line.contains("[socket-healthcheck]")), is_found, "{found:?}");
    }
}

#[test]
fn a_secret_given_as_a_file_has_to_be_there_readable_and_good() {
    let plant = |mode: u32, content: &str, target: &str, twice: bool| {
        found(|places| {
            let environment = &mut service(places, "user")["environment"];
            if !twice {
                environment.as_object_mut().unwrap().remove("JWT_SIGNING_KEY");
            }
            environment["JWT_SIGNING_KEY_FILE"] = json!(target);
            service(places, "user")["secrets"] = json!([{ "source": "key", "target": "/run/secrets/key" }]);
            places.compose[0].rendered["secrets"] = json!({ "key": { "file": "/x/key" } });
            places.files.insert("/x/key".into(), named_file(content, mode));
        })
    };
    let good = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n";
    let is_of_user =
        |found: Vec<String>| found.into_iter().filter(|line| line.starts_with("compose.yaml")).collect::<Vec<_>>();
    assert_eq!(is_of_user(plant(0o644, good, "/run/secrets/key", false)), [""; 0]);
    let place = "compose.yaml:";
    assert_found(
        &plant(0o600, good, "/run/secrets/key", false),
        place,
        "secret-file",
        "user 65532 of the image cannot read",
    );
    assert_found(&plant(0o644, CANARY, "/run/secrets/key", false), place, "malformed-value", "the content of the-file");
    assert_found(
        &plant(0o644, good, "/run/secrets/kye", false),
        place,
        "secret-file",
        "did you mean /run/secrets/key?",
    );
    assert_found(
        &plant(0o644, good, "/run/secrets/key", true),
        place,
        "both-forms",
        "JWT_SIGNING_KEY of user is set twice",
    );
}

#[test]
fn a_secret_in_a_file_of_the_repository_is_found_and_one_in_an_ignored_file_is_not() {
    for is_committed in [true, false] {
        let found = found(|places| {
            let text = format!("ADMIN_PASSWORD={CANARY}\n");
            places.files.insert("/x/svc.env".into(), NamedFile { is_committed, ..named_file(&text, 0o644) });
            service(places, "user")["environment"].as_object_mut().unwrap().remove("ADMIN_PASSWORD");
            service(places, "user")["env_file"] = json!([{ "path": "/x/svc.env" }]);
        });
        assert_eq!(found.iter().any(|line| line.contains("[secret-literal]")), is_committed, "{found:?}");
    }
}

#[test]
fn a_slip_in_compose_is_found_with_what_was_meant() {
    let set = |name: &str, variable: &str, value: &str| {
        found(|places| service(places, name)["environment"][variable] = json!(value))
    };
    let place = "compose.yaml:";
    assert_found(&set("gateway", "USER_URI", "http://user:8080"), place, "unknown-variable", "did you mean USER_URL?");
    assert_found(&set("gateway", "USER_URL", "http://usr:8080"), place, "unreachable-address", "did you mean user?");
    assert_found(&set("gateway", "USER_URL", "http://user:80"), place, "unreachable-address", "it listens on 8080");
    assert_found(&set("gateway", "USER_URL", "http://user-db:8080"), place, "unreachable-address", "shares no network");
    assert_found(
        &set("gateway", "USER_URL", "http://localhost:8080"),
        place,
        "unreachable-address",
        "its own container",
    );
    assert_found(&set("gateway", "PORT", "tcp://10.43.1.7:8080"), place, "malformed-value", "Kubernetes Service");
    assert_found(
        &set("gateway", "LOG_LEVEL", "${LOG_LEVEL:-debug}"),
        place,
        "different-default",
        "LOG_LEVEL of gateway",
    );
    assert_found(&set("gateway", "LOG_LEVEL", "INFO"), place, "malformed-value", "is not one of");
    assert_found(&set("order", "PRODUCT_URL", "${PRODUCT_URL}"), place, "required-unset", "may be blank");
    assert_found(&set("order", "PRODUCT_URL", "  "), place, "required-unset", "PRODUCT_URL of order");
    assert_found(&set("user-db", "POSTGRES_DB", "usr"), place, "database-mismatch", "another database");
    assert_found(&set("user", "JWT_SIGNING_KEY", "${JWT_PUBLIC_KEY:?x}"), place, "mixed-use", "JWT_PUBLIC_KEY");
    assert_found(&set("user", "REQUEST_TIMEOUT", "${"), place, "unreadable-value", "without the name of a variable");
}

#[test]
fn a_service_that_nobody_starts_and_an_image_that_nobody_knows_are_found() {
    let gone = found(|places| {
        places.compose[0].rendered["services"].as_object_mut().unwrap().remove("order");
        places.kubernetes.clear();
    });
    assert_found(&gone, "image of order", "required-unset", "no place starts order");
    let foreign = found(|places| {
        places.compose[0].rendered["services"]["cache"] = json!({ "image": "valkey:8", "environment": { "A": "1" } });
    });
    assert_found(&foreign, "compose.yaml", "no-contract", "cache");
}

/// Case Q01, and case Q11: what follows from a file that Compose refuses is no finding.
#[test]
fn q01_text_after_a_closing_quote_is_found_and_not_told() {
    for text in [
        "ADMIN_PASSWORD=\"pa\"S3CR3T-c4n4ry\"\n",
        "ADMIN_PASSWORD=\"pa\" S3CR3T-c4n4ry\n",
        "ADMIN_PASSWORD='a'S3CR3T-c4n4ry=b\n",
    ] {
        let found = found(|places| places.env = Some(text.as_bytes().into()));
        assert_found(&found, ".env:1", "env-file-form", "text after the closing quote of ADMIN_PASSWORD");
    }
    let refused = found(|places| places.env = Some(b"ADMIN_PASSWORD=\"pa\"ss\"\n".to_vec()));
    assert_eq!(refused.len(), 1, "{refused:#?}");
    let both = found(|places| {
        places.files.insert("/x/svc.env".into(), named_file("JWT_ISSUER=\"x\" LOG_LEVEL=loud c4n4ry=1\n", 0o644));
        service(places, "product")["env_file"] = json!("/x/svc.env");
    });
    assert_found(&both, "the-file:1", "env-file-form", "text after the closing quote of JWT_ISSUER");
    let both = found(|places| {
        places.files.insert("/x/svc.env".into(), named_file("JWT_ISSUER=\"x\" LOG_LEVEL=\"loud\" c4n4ry=1\n", 0o644));
        service(places, "product")["env_file"] = json!("/x/svc.env");
    });
    assert_found(&both, "the-file:1", "malformed-value", "LOG_LEVEL of product");
    assert!(!both.iter().any(|line| line.contains("c4n4ry")), "{both:#?}");
}

#[test]
fn q04_a_secret_behind_a_blank_line_or_in_a_here_document_is_found_and_a_reference_is_filled() {
    let blank = found(|places| edit_dockerfile(places, "ENV A=1 \\\n\n  # c\n  ADMIN_PASSWORD=x"));
    assert_found(&blank, "", "secret-in-image", "ADMIN_PASSWORD");
    let document = found(|places| edit_dockerfile(places, "RUN <<EOF\nENV NOTHING=1\nNPM_TOKEN=abc publish\nEOF"));
    assert_found(&document, "gateway/Dockerfile:", "secret-literal", "NPM_TOKEN");
    assert!(!document.iter().any(|line| line.contains("NOTHING")), "{document:#?}");
    let level = |value: &str| found(|places| edit_dockerfile(places, &format!("ARG L={value}\nENV LOG_LEVEL=${{L}}")));
    assert!(!level("info").iter().any(|line| line.contains("[malformed-value]")), "{:#?}", level("info"));
    assert_found(&level("loud"), "", "malformed-value", "LOG_LEVEL");
    let refused = found(|places| edit_dockerfile(places, "ENV A=1 B"));
    assert_found(&refused, "gateway/Dockerfile:", "unreadable-value", "not of the form name=value");
}

#[test]
fn q05_a_writable_mount_is_seen_in_its_short_form() {
    let found = found(|places| service(places, "user")["tmpfs"] = json!("/run"));
    assert_found(&found, "k8s/base/user.yaml", "different-stack", "other places to write to");
    assert_eq!(found.len(), 1, "{found:#?}");
}

/// Case Q06, for every file that is YAML or text.
#[test]
fn q06_a_file_that_cannot_be_read_is_one_finding_and_the_rest_is_audited() {
    let two = found(|places| {
        places.workflows.push((".github/workflows/x.yml".into(), "a: [1\n".into()));
        places
            .workflows
            .push((".github/workflows/y.yml".into(), "t: [\n\"x\"\n]\njobs: { x: { env: { PORT: many } } }\n".into()));
    });
    assert_found(&two, ".github/workflows/x.yml", "unreadable-file", "is not valid YAML");
    assert_found(&two, ".github/workflows/y.yml:4", "malformed-value", "PORT");
    assert_eq!(two.len(), 2, "{two:#?}");
    let stack = found(|places| {
        places.compose.clear();
        places.is_stack_unread = true;
        places.problems.push(super::places::unreadable("compose.yaml", "is refused"));
    });
    assert_eq!(stack.len(), 1, "{stack:#?}");
}

#[test]
fn q08_a_port_that_is_not_known_yet_is_no_malformed_one() {
    let set = |value: &str| found(|places| service(places, "gateway")["environment"]["USER_URL"] = json!(value));
    let about =
        |found: &[String]| found.iter().filter(|line| line.starts_with("compose.yaml")).cloned().collect::<Vec<_>>();
    let unknown = set("http://user:${PEER_PORT:?set}");
    assert!(!about(&unknown).iter().any(|line| line.contains("malformed-value")), "{unknown:#?}");
    assert_found(&set("http://usr:${PEER_PORT:?set}"), "compose.yaml:", "unreachable-address", "did you mean user?");
    for good in ["${S:?x}://user:${P:?x}", "http://${H:?x}:8080", "http://user:8080${PATH_OF:?x}"] {
        assert!(!about(&set(good)).iter().any(|line| line.contains("malformed-value")), "{good}");
    }
    assert_found(&set("http://user:8080x${P:?x}"), "compose.yaml:", "malformed-value", "port");
}

/// `${X?}` starts with an empty X, and the program does not.
#[test]
fn q08_an_empty_variable_is_not_an_unset_one() {
    let plant = |value: &str, env: &str| {
        let env = env.to_owned();
        found(move |places| {
            service(places, "gateway")["environment"]["USER_URL"] = json!(value);
            places.env = Some(env.into_bytes());
        })
    };
    let blank = plant("${U?x}", "U=\n");
    assert_found(&blank, ".env:1", "required-unset", "with U blank, USER_URL of gateway is blank");
    assert!(!blank.iter().any(|line| line.contains("U is not set")), "{blank:#?}");
    let refused = plant("${U:?x}", "U=\n");
    assert_found(&refused, ".env:1", "required-unset", "U is not set, and the stack does not start without it");
}

/// Case Q11: a misspelt host is one finding, and what the documents and the manifests say otherwise follows from it.
#[test]
fn q11_a_misspelt_service_is_one_finding() {
    let found = found(|places| service(places, "gateway")["environment"]["USER_URL"] = json!("http://usr:8080"));
    assert_eq!(found.len(), 1, "{found:#?}");
}
