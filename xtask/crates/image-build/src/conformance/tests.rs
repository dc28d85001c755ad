//! Per rule an image that keeps it and one that breaks it.

use serde_json::{Value, json};

use super::golden::Golden;
use super::{compare, rules};
use crate::image::{ImageFacts, ProgramFacts};
use crate::objection::Objection;
use crate::saved_image::{ImageFile, Kind};

const CANARY: &str = "S3CR3T-c4n4ry";

/// An image that keeps every rule.
pub(crate) fn facts() -> ImageFacts {
    let label = |word: &str| (format!("org.opencontainers.image.{word}"), json!("said"));
    let labels: serde_json::Map<_, _> =
        ["created", "description", "licenses", "revision", "title", "version"].into_iter().map(label).collect();
    ImageFacts {
        id: "sha256:1".into(),
        size_bytes: 500_000,
        files: vec![file("/mini-user", Kind::File, 0o755)],
        config: json!({
            "User": "65532:65532",
            "Entrypoint": ["/mini-user"],
            "Healthcheck": { "Test": ["CMD", "/mini-user", "healthcheck"] },
            "ExposedPorts": { "8080/tcp": {} },
            "Env": ["PATH=/usr/bin"],
            "Labels": labels,
        }),
        history: vec!["ARG IMAGE_VERSION=unknown".into(), "COPY /out/mini-user /mini-user # buildkit".into()],
        program_faults: vec![],
        program: Some(ProgramFacts {
            version_line: String::new(),
            contract: json!({ "variables": [
                { "name": "DATABASE_URL", "secret": true },
                { "name": "TOKEN_LIFETIME", "secret": false },
            ] }),
        }),
    }
}

fn file(path: &str, kind: Kind, mode: u32) -> ImageFile {
    ImageFile { path: path.into(), kind, mode, owner: "0:0".into(), size_bytes: 500_000 }
}

fn broken(change: impl Fn(&mut ImageFacts)) -> Vec<Objection> {
    let mut facts = facts();
    change(&mut facts);
    rules::broken(&facts)
}

fn names(found: &[Objection]) -> Vec<&'static str> {
    found.iter().map(|difference| difference.rule).collect()
}

#[test]
fn an_image_that_keeps_every_rule_has_no_finding() {
    assert_eq!(broken(|_| ()), []);
}

#[test]
fn the_user_is_a_plain_number_other_than_roots_with_a_group_of_its_own() {
    let table: [(&str, &[&str]); 13] = [
        ("65532:65532", &[]),
        ("65532", &["image-group"]),
        ("1000:0", &["image-group"]),
        ("", &["image-user"]),
        ("0", &["image-user"]),
        ("0:0", &["image-user"]),
        ("root", &["image-user"]),
        ("nonroot", &["image-user"]),
        ("65532:nonroot", &["image-user"]),
        ("065532", &["image-user"]),
        (" 65532", &["image-user"]),
        ("+5", &["image-user"]),
        ("99999999999", &["image-user"]),
    ];
    for (user, expected) in table {
        assert_eq!(names(&broken(|facts| facts.config["User"] = json!(user))), expected, "{user:?}");
    }
    assert_eq!(names(&broken(|facts| facts.config["User"] = Value::Null)), ["image-user"]);
}

#[test]
fn entrypoint_and_healthcheck_are_programs_of_the_image_in_exec_form() {
    for entrypoint in [json!(["/bin/sh", "-c", "/mini-user"]), json!(["mini-user"]), json!([]), Value::Null] {
        let found = broken(|facts| facts.config["Entrypoint"] = entrypoint.clone());
        assert_eq!(names(&found), ["image-entrypoint"], "{entrypoint}");
    }
    let checks = [
        json!({ "Test": ["CMD-SHELL", "/mini-user healthcheck"] }),
        json!({ "Test": ["NONE"] }),
        json!({ "Test": ["CMD", "/usr/bin/curl", "localhost"] }),
        json!({ "Test": ["CMD"] }),
        Value::Null,
    ];
    for check in checks {
        let found = broken(|facts| facts.config["Healthcheck"] = check.clone());
        assert_eq!(names(&found), ["image-healthcheck"], "{check}");
    }
    // A program that nobody may execute can start nothing.
    assert_eq!(names(&broken(|facts| facts.files[0].mode = 0o644)), ["image-entrypoint", "image-healthcheck"]);
}

#[test]
fn what_helps_an_intruder_is_found_wherever_it_lies() {
    let table = [
        (file("/opt/tools/busybox", Kind::File, 0o755), "image-shell"),
        (file("/bin/sh", Kind::Symlink, 0o777), "image-shell"),
        (file("/usr/bin/apt-get", Kind::File, 0o755), "image-package-manager"),
        (file("/var/lib/dpkg", Kind::Directory, 0o755), "image-package-manager"),
        (file("/usr/bin/su", Kind::File, 0o4755), "image-setuid"),
        (file("/usr/bin/wall", Kind::File, 0o2755), "image-setuid"),
        (file("/etc/app.conf", Kind::File, 0o666), "image-world-writable"),
        (file("/data", Kind::Directory, 0o777), "image-world-writable"),
    ];
    for (more, rule) in table {
        let found = broken(|facts| facts.files.push(more.clone()));
        assert_eq!(names(&found), [rule], "{}", more.path);
    }
    for harmless in [
        file("/tmp", Kind::Directory, 0o1777),
        file("/etc/link", Kind::Symlink, 0o777),
        file("/etc/sh", Kind::Directory, 0o755),
        file("/refresh", Kind::File, 0o644),
    ] {
        assert_eq!(broken(|facts| facts.files.push(harmless.clone())), [], "{}", harmless.path);
    }
}

#[test]
fn every_required_label_has_to_say_something() {
    for value in [json!(""), json!(" "), json!("unknown"), Value::Null] {
        let found = broken(|facts| facts.config["Labels"]["org.opencontainers.image.revision"] = value.clone());
        assert_eq!(names(&found), ["image-label"], "{value}");
    }
    assert_eq!(broken(|facts| facts.config["Labels"] = Value::Null).len(), 6);
}

#[test]
fn a_canary_is_found_in_every_place_under_its_name_and_never_shown() {
    type Plant = Box<dyn Fn(&mut ImageFacts)>;
    let table: [(&str, Plant); 8] = [
        (
            "environment/DATABASE_URL",
            Box::new(|facts| facts.config["Env"] = json!(["DATABASE_URL=postgres://db/shop"])),
        ),
        ("environment/NPM_TOKEN", Box::new(|facts| facts.config["Env"] = json!([format!("NPM_TOKEN={CANARY}")]))),
        (
            "environment/BACKEND",
            Box::new(|facts| facts.config["Env"] = json!([format!("BACKEND=postgres://shop:{CANARY}@db/shop")])),
        ),
        ("labels/deploy-token", Box::new(|facts| facts.config["Labels"]["deploy-token"] = json!(CANARY))),
        (
            "onbuild/DB_PASSWORD",
            Box::new(|facts| facts.config["OnBuild"] = json!([format!("ENV DB_PASSWORD={CANARY}")])),
        ),
        ("history/API_KEY", Box::new(|facts| facts.history.push(format!("ARG API_KEY={CANARY}")))),
        (
            "history/NPM_TOKEN",
            Box::new(|facts| facts.history.push(format!("RUN |1 NPM_TOKEN={CANARY} /bin/sh -c make # buildkit"))),
        ),
        (
            "history/DB_PASSWORD",
            Box::new(|facts| facts.history.push(format!("/bin/sh -c #(nop)  ENV DB_PASSWORD={CANARY}"))),
        ),
    ];
    for (place, plant) in table {
        let found = broken(plant);
        let secret = found.iter().find(|difference| difference.rule == "image-secret");
        assert_eq!(secret.map(|difference| difference.about.as_str()), Some(place));
        assert!(!format!("{found:?}").contains(CANARY), "{found:?}");
    }
    for harmless in ["RUST_LOG=debug", "TOKEN_LIFETIME=900s", "NPM_TOKEN_FILE=/run/secrets/npm"] {
        assert_eq!(broken(|facts| facts.config["Env"] = json!([harmless])), [], "{harmless}");
    }
}

#[test]
fn a_run_in_the_final_stage_is_found_and_what_it_said_is_not_shown() {
    for step in [
        format!("RUN /bin/sh -c echo {CANARY} # buildkit"),
        format!("/bin/sh -c echo {CANARY}"),
        format!("|1 A=b /bin/sh -c echo {CANARY}"),
        format!("ADD https://example.org/{CANARY} /x"),
    ] {
        let found = broken(|facts| facts.history.push(step.clone()));
        assert_eq!(names(&found), ["image-history"], "{step}");
        assert!(!format!("{found:?}").contains(CANARY), "{found:?}");
    }
}

#[test]
fn a_golden_allows_exactly_what_the_image_is() {
    let golden = Golden::of(&facts());
    assert_eq!(Golden::parse(&golden.render()).unwrap(), golden);
    let differences = |change: fn(&mut ImageFacts)| {
        let mut facts = facts();
        change(&mut facts);
        names(&compare(Some(&golden), &facts))
    };
    assert!(differences(|_| ()).is_empty());
    assert_eq!(differences(|f| f.files.push(file("/etc/motd", Kind::File, 0o644))), ["image-unexpected-file"]);
    assert_eq!(differences(|f| f.files[0].mode = 0o775), ["image-differs"]);
    assert_eq!(differences(|f| f.files[0].owner = "65532:65532".into()), ["image-differs"]);
    assert_eq!(differences(|f| f.files.clear()), ["image-golden-stale"]);
    assert_eq!(differences(|f| f.config["User"] = json!("1:1")), ["image-differs"]);
    assert_eq!(differences(|f| f.config["Env"] = json!(["PATH=/x", "RUST_LOG=info"])), ["image-differs"]);
    assert_eq!(differences(|f| f.config["Env"] = json!([])), ["image-golden-stale"]);
    assert_eq!(
        differences(|f| f.config["ExposedPorts"] = json!({ "80/tcp": {} })),
        ["image-differs", "image-golden-stale"]
    );
    assert_eq!(differences(|f| f.config["Cmd"] = json!(["serve"])), ["image-differs"]);
    assert_eq!(names(&compare(None, &facts())), ["image-without-golden"]);
}

#[test]
fn an_unknown_key_in_a_golden_is_an_error() {
    let text = Golden::of(&facts()).render();
    assert!(Golden::parse(&text.replace("user =", "users =")).is_err());
    assert!(Golden::parse(&text.replace("owner =", "owned =")).is_err());
}

/// A real image with a canary in every place that a Dockerfile has for one, as the engine itself stores it.
#[cfg(feature = "engine-tests")]
#[test]
fn canaries_in_a_real_image_are_found_and_none_is_shown() {
    use camino::Utf8Path;
    use xshell::{Shell, cmd};

    use xtask_process::{Interrupt, Runner};

    use crate::saved_image::SavedImage;

    const LIMIT_SECONDS: u64 = 120;
    let folder = tempfile::tempdir().unwrap();
    let folder = Utf8Path::from_path(folder.path()).unwrap();
    let dockerfile = format!(
        "FROM scratch\nARG API_KEY={CANARY}\nENV NPM_TOKEN={CANARY}\nLABEL deploy-token={CANARY}\nONBUILD ENV DB_PASSWORD={CANARY}\n\
         COPY Dockerfile /etc/sh\nUSER nonroot\n"
    );
    std::fs::write(folder.join("Dockerfile"), dockerfile).unwrap();
    let (shell, runner) =
        (Shell::new().unwrap(), Runner::new(Interrupt::default(), xtask_outcome::Progress::default()));
    let tag = format!("xtask-conformance-test:{}", std::process::id());
    let file = folder.join("image.tar");
    let build = cmd!(shell, "docker build --quiet --tag {tag} {folder}").env("DOCKER_BUILDKIT", "0");
    runner.read(build, LIMIT_SECONDS).unwrap();
    let saved = runner.read(cmd!(shell, "docker image save --output {file} {tag}"), LIMIT_SECONDS);
    runner.read(cmd!(shell, "docker image rm {tag}"), LIMIT_SECONDS).unwrap();
    saved.unwrap();
    let saved = SavedImage::read(&file).unwrap();
    let planted =
        ImageFacts { files: saved.files(), config: saved.config().clone(), history: saved.history(), ..facts() };
    let found = rules::broken(&planted);
    for place in ["history/API_KEY", "environment/NPM_TOKEN", "labels/deploy-token", "onbuild/DB_PASSWORD"] {
        assert!(
            found.iter().any(|difference| difference.rule == "image-secret" && difference.about == place),
            "{place}: {found:?}"
        );
    }
    for rule in ["image-user", "image-entrypoint", "image-healthcheck", "image-shell", "image-label", "image-history"] {
        assert!(names(&found).contains(&rule), "{rule}: {found:?}");
    }
    assert!(!format!("{found:?}").contains(CANARY), "{found:?}");
}

#[test]
fn labels_say_what_was_planned_and_the_source_only_where_it_is_known() {
    let mut plan = crate::plan::tests::plan().images.remove(0);
    let said = |words: &[(&str, &str)]| {
        let mut facts = facts();
        for (word, value) in words {
            facts.config["Labels"][format!("org.opencontainers.image.{word}")] = json!(value);
        }
        facts
    };
    let about = |plan: &crate::plan::ImagePlan, facts: &ImageFacts| -> Vec<String> {
        rules::other_labels(plan, facts)
            .into_iter()
            .map(|found| found.about.rsplit('.').next().unwrap().to_owned())
            .collect()
    };
    let source = plan.source.clone().unwrap();
    let all = [("version", "0.1.0"), ("revision", "abc-dirty"), ("source", source.as_str()), ("url", source.as_str())];
    assert_eq!(about(&plan, &said(&all)), Vec::<String>::new());
    // The automation's version in place of the package's own; no source although it is known.
    assert_eq!(
        about(&plan, &said(&[("version", "9.9.9"), all[1], ("source", "unknown")])),
        ["version", "source", "url"]
    );
    assert_eq!(about(&plan, &said(&[all[0], ("revision", "abc"), all[2], all[3]])), ["revision"]);
    plan.source = None;
    assert_eq!(about(&plan, &said(&all[..2])), Vec::<String>::new());
}
