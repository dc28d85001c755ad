//! A healthcheck that can run (case D01), and one that a database cannot pass before it is ready (case E03).

use crate::places::Healthcheck;
use crate::policy::ReadyProgram;
use crate::view::{About, Findings, View};
use xtask_outcome::Place;

const NEXT: &str = "use the exec form with the program's own subcommand: [CMD, /program, healthcheck]";

pub(super) fn check(view: &View<'_>, findings: &mut Findings) {
    deployments(view, findings);
    for (service, file, dockerfile) in &view.dockerfiles {
        if let Some(instruction) = dockerfile.healthcheck() {
            let place = Place { name: (*file).to_owned(), line: Some(instruction.line) };
            let about = About { place: &place, service, variable: "HEALTHCHECK" };
            // What another base has in it, nobody knows here.
            if instruction.is_shell_healthcheck() && dockerfile.is_from_nothing() {
                let message = format!("the healthcheck of {service} needs a shell, which the image does not have");
                findings.add("shell-healthcheck", &about, message, NEXT);
            }
            if instruction.is_disabled_healthcheck() {
                let message = format!("{service} has its healthcheck turned off");
                findings.add("no-healthcheck", &about, message, NEXT);
            }
        }
    }
    for image in view.places.images.iter().filter(|image| image.is_built()) {
        let place = Place::new(format!("image of {}", image.service));
        let about = About { place: &place, service: &image.service, variable: "HEALTHCHECK" };
        match image.config["Healthcheck"]["Test"][0].as_str() {
            Some("CMD") => {}
            Some("CMD-SHELL") => {
                let message = format!("the healthcheck of {} needs a shell, which it does not have", image.service);
                findings.add("shell-healthcheck", &about, message, NEXT);
            }
            _ => findings.add("no-healthcheck", &about, format!("{} has no healthcheck", image.service), NEXT),
        }
    }
}

fn deployments(view: &View<'_>, findings: &mut Findings) {
    for (_, deployment) in view.deployments() {
        let place = deployment.healthcheck_place.clone().unwrap_or_else(|| Place::new(&deployment.file));
        let name = &deployment.name;
        let about = About { place: &place, service: name, variable: "healthcheck" };
        let is_own = view.own_contract(deployment).is_some();
        let text = match &deployment.healthcheck {
            Healthcheck::Shell(text) => text.clone(),
            Healthcheck::Command(words) => words.join(" "),
            Healthcheck::Disabled => {
                findings.add("no-healthcheck", &about, format!("{name} has its healthcheck turned off"), NEXT);
                continue;
            }
            Healthcheck::Inherited => continue,
        };
        if is_own && matches!(deployment.healthcheck, Healthcheck::Shell(_)) {
            let message = format!("the healthcheck of {name} needs a shell, which its image does not have");
            findings.add("shell-healthcheck", &about, message, NEXT);
        }
        let words: Vec<_> = text.split_whitespace().collect();
        let asks = |ready: &&ReadyProgram| words.iter().any(|word| word.ends_with(&ready.program));
        let ready = view.policy.images.iter().filter_map(|image| image.ready.as_ref()).find(asks);
        let by_host =
            |word: &&str| ready.is_some_and(|one| one.address.iter().any(|option| word.starts_with(option.as_str())));
        if let Some(ReadyProgram { program, address }) = ready.filter(|_| !words.iter().any(by_host)) {
            let message = format!(
                "the healthcheck of {name} asks over the socket, where the server of the first start answers before the database is ready"
            );
            findings.add(
                "socket-healthcheck",
                &about,
                message,
                format!("ask over TCP: {program} {} 127.0.0.1", address[0]),
            );
        }
        if view.own_contract(deployment).is_some() && words.iter().any(|word| word.contains("localhost")) {
            let message = format!("the healthcheck of {name} asks `localhost`, which may be ::1 where nothing listens");
            findings.add("localhost-healthcheck", &about, message, NEXT);
        }
    }
}
