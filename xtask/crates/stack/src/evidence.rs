//! What a person needs to see when the stack failed: the guilty container first, and the end of its log.

use xshell::{Shell, cmd};
use xtask_engine::Ready;

use crate::Stack;
use crate::readiness::{ContainerState, Verdict, judge};

/// How much of a guilty container's log goes on the screen.
const LOG_LINES: &str = "30";
/// How much of each log is searched for what a container complained about.
const SEARCHED_LINES: &str = "300";
/// How many complaints of a container that runs are shown.
const SHOWN_COMPLAINTS: usize = 5;
const QUERY_LIMIT_SECONDS: u64 = 60;

/// Shows the containers that failed with the ends of their logs; where none did, what the others complained about.
pub(crate) fn show(stack: &Stack<'_>, ready: &Ready) {
    let Ok(containers) = stack.state() else { return };
    let is_guilty = |container: &&ContainerState| !matches!(judge(container), Verdict::Running | Verdict::Done);
    let (guilty, others): (Vec<_>, Vec<_>) = containers.iter().partition(is_guilty);
    let progress = stack.context.runner.progress();
    for container in &guilty {
        progress.say(&format!("--- {}", described(container)));
        progress.say(log(stack, ready, container, LOG_LINES).trim_end());
    }
    for container in &others {
        let log = log(stack, ready, container, SEARCHED_LINES);
        let complaints = complaints(&log);
        if guilty.is_empty() && !complaints.is_empty() {
            progress.say(&format!("--- {} runs, and complained:", container.service));
            complaints.iter().for_each(|line| progress.say(line));
        }
    }
    let others: Vec<_> = others.iter().map(|container| container.service.as_str()).collect();
    if !others.is_empty() {
        progress.say(&format!("--- running: {}", others.join(", ")));
    }
}

fn described(container: &ContainerState) -> String {
    match judge(container) {
        Verdict::Failed(why) | Verdict::Unhealthy(why) | Verdict::Waiting(why) => why,
        Verdict::Running | Verdict::Done => container.service.clone(),
    }
}

/// The last lines of a log that are errors or warnings, in the form of the services' logs or in words.
fn complaints(log: &str) -> Vec<&str> {
    let is_complaint = |line: &&str| {
        let line = line.to_ascii_uppercase();
        ["\"ERROR\"", "\"WARN\"", "ERROR:", "FATAL:", "PANIC"].iter().any(|word| line.contains(word))
    };
    let found: Vec<_> = log.lines().filter(is_complaint).collect();
    found[found.len().saturating_sub(SHOWN_COMPLAINTS)..].to_vec()
}

fn log(stack: &Stack<'_>, ready: &Ready, container: &ContainerState, lines: &str) -> String {
    let Ok(shell) = Shell::new() else { return String::new() };
    let (docker, id) = (&ready.docker.program, &container.id);
    let runner = stack.context.runner.for_clean_up();
    let log = runner.capture(cmd!(shell, "{docker} logs --tail {lines} {id}"), QUERY_LIMIT_SECONDS);
    log.map(|log| log.stdout + &log.stderr).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_found_in_json_and_in_words() {
        let log = "{\"level\":\"INFO\"}\n{\"level\":\"ERROR\",\"message\":\"x\"}\n2026 FATAL:  role does not exist\nLOG:  ready\n";
        assert_eq!(complaints(log), ["{\"level\":\"ERROR\",\"message\":\"x\"}", "2026 FATAL:  role does not exist"]);
        let many = "WARNING\nERROR: 1\n".repeat(20);
        assert_eq!(complaints(&many).len(), SHOWN_COMPLAINTS);
    }
}
