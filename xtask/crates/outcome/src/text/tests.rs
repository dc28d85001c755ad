//! What people see, by how a command ended and on what it is shown.

use std::collections::BTreeMap;

use crate::{Finding, Outcome, Place, Report, Screen, Step, Stop, Table};

const NEXT: &str = "cargo xtask up";

fn finding(rule: &'static str, place: &str, line: u32, message: &str, next_step: &str) -> Finding {
    Finding {
        rule,
        place: Place { name: place.into(), line: Some(line) },
        message: message.into(),
        next_step: next_step.into(),
    }
}

/// A `verify` whose steps found all of this, at their usual places.
struct Verify {
    outcome: Outcome,
}

impl Verify {
    fn new() -> Self {
        Self { outcome: Outcome { next: Some(NEXT.to_owned()), ..Outcome::default() } }
    }

    fn step(mut self, name: &str, run: impl FnOnce(&mut Outcome) -> anyhow::Result<()>) -> Self {
        self.outcome.step(name, run).unwrap();
        self
    }

    fn built(self) -> Self {
        self.step("setup", |part| {
            part.checked("tools", 3);
            part.checked("bases", 2);
            Ok(())
        })
        .step("build-images", |part| {
            part.checked("images built anew", 0);
            part.checked("images proved", 4);
            let mut table = Table::new("images", &["image", "#size", "#limit"]);
            table.row(["user".into(), "4.2 MB".into(), "12 MB".into()]);
            part.table(table);
            Ok(())
        })
    }

    fn tested(self) -> Self {
        self.step("compose-e2e", |part| {
            part.checked("containers started", 7);
            part.checked("settings asserted", 98);
            part.checked("requests sent", 27);
            part.checked("figures compared with the baseline of this machine", 31);
            Ok(())
        })
    }

    /// Every time is the same, so that the snapshots are.
    fn report(mut self) -> Report {
        for (at, step) in self.outcome.steps.iter_mut().enumerate() {
            step.seconds = at as f64 + 0.5;
        }
        Report::running("verify", "cargo xtask verify --db DIR").ended(self.outcome, 29.84)
    }
}

fn files() -> [(&'static str, String); 2] {
    [("report", "target/xtask/reports/verify.json".into()), ("log", "target/xtask/logs/verify.log".into())]
}

/// As on a terminal without colours.
fn terminal(report: &Report, width: usize, height: usize) -> String {
    let files = files();
    let screen = Screen { width: Some(width), height: Some(height), marks: true, evidence: false, files: &files };
    anstream::adapter::strip_str(&report.text(&screen)).to_string()
}

/// As in a log.
fn log(report: &Report) -> String {
    anstream::adapter::strip_str(&report.text(&Screen::default())).to_string()
}

fn pass() -> Report {
    Verify::new().built().tested().report()
}

fn incomplete() -> Report {
    let scan = |part: &mut Outcome| {
        part.checked("images scanned", 5);
        let reason = "the database has no data for debian 13, see https://example.org/coverage";
        part.unchecked("vulnerabilities of debian 13.8 in postgres", reason);
        part.unchecked("vulnerabilities of debian 13.8 in rust", reason);
        Ok(())
    };
    let audit = |_: &mut Outcome| Err(Stop::Absent("kubectl is not here; next: `cargo xtask setup`".into()).into());
    Verify::new().built().step("scan", scan).step("audit-env", audit).tested().report()
}

fn failed(findings: u32) -> Report {
    let audit = |part: &mut Outcome| {
        for number in 0..findings {
            let message = format!("user: PEER_{number}_URL is required, and nothing sets it");
            let next = "set it there, or give it a default in services/user/src/config.rs and run `cargo xtask audit-env --write`";
            part.findings.push(finding("required-unset", "compose.yaml", 7 + number, &message, next));
        }
        part.findings.push(finding(
            "image-user",
            "services/user/Dockerfile",
            12,
            "the user is \"root\"",
            "USER 65532:65532",
        ));
        part.findings.push(finding(
            "image-user",
            "services/order/Dockerfile",
            14,
            "the user is \"root\"",
            "USER 65532:65532",
        ));
        Ok(())
    };
    let test = |part: &mut Outcome| {
        part.step("journey", |_| {
            Err::<(), _>(Stop::Repository("step `create an order`: expected 201, got 500".into()).into())
        })?;
        part.step("down", |_| Err::<(), _>(Stop::Broken("compose down failed: network is in use".into()).into()))?;
        Ok(())
    };
    Verify::new().built().step("audit-env", audit).step("compose-e2e", test).report()
}

#[test]
fn a_pass_on_a_terminal() {
    insta::assert_snapshot!(terminal(&pass(), 80, 24), @r"
      verdict  step          checked                               seconds
    ✔ pass     setup         3 tools, 2 bases                          0.5
    ✔ pass     build-images  0 images built anew, 4 images proved      1.5
    ✔ pass     compose-e2e   7 containers started, …                   2.5

    ✔ PASS verify: everything was checked, in 29.8 s
    report target/xtask/reports/verify.json · log target/xtask/logs/verify.log
    next: cargo xtask up
    ");
}

#[test]
fn an_incomplete_run_on_a_terminal_says_what_is_missing_and_why() {
    insta::assert_snapshot!(terminal(&incomplete(), 80, 24), @r"
      verdict      step          checked                               seconds
    ✔ pass         setup         3 tools, 2 bases                          0.5
    ✔ pass         build-images  0 images built anew, 4 images proved      1.5
    ! incomplete   scan          2 not checked, 5 images scanned           2.5
    ! not checked  audit-env     1 not checked                             3.5
    ✔ pass         compose-e2e   7 containers started, …                   4.5

    ! not checked: vulnerabilities of debian 13.8 in postgres, vulnerabilities of
      debian 13.8 in rust (the database has no data for debian 13, see
      https://example.org/coverage)
    ! not checked: audit-env (kubectl is not here; next: `cargo xtask setup`)
    ! INCOMPLETE verify: nothing wrong was found, and 3 things were not checked
      (exit code 0; 3 with --strict) in 29.8 s
    report target/xtask/reports/verify.json · log target/xtask/logs/verify.log
    next: cargo xtask up
    ");
}

#[test]
fn a_failed_run_shows_findings_by_cause_within_the_height_and_counts_the_rest() {
    let text = terminal(&failed(9), 80, 24);
    assert!(text.lines().count() < 24, "{text}");
    insta::assert_snapshot!(text, @r"
      verdict   step          checked                               seconds
    ✔ pass      setup         3 tools, 2 bases                          0.5
    ✔ pass      build-images  0 images built anew, 4 images proved      1.5
    ✘ findings  audit-env     11 findings                               2.5
    ✘ failed    compose-e2e                                             3.5

    ✘ compose-e2e/journey: step `create an order`: expected 201, got 500
    ✘ compose-e2e/down: compose down failed: network is in use
    ✘ compose.yaml:7 [required-unset]: user: PEER_0_URL is required, and nothing
        sets it
      compose.yaml:8 [required-unset]: user: PEER_1_URL is required, and nothing
        sets it
      compose.yaml:9 [required-unset]: user: PEER_2_URL is required, and nothing
        sets it
      … and 6 more of this cause
      next: set it there, or give it a default in services/user/src/config.rs and
        run `cargo xtask audit-env --write`
      … and 2 more findings; -v and the report show all
    ✘ FAILED verify (11 findings of 2 causes): compose-e2e/journey: step
      `create an order`: expected 201, got 500
    report target/xtask/reports/verify.json · log target/xtask/logs/verify.log
    run it again: cargo xtask verify --db DIR
    ");
}

#[test]
fn a_narrow_terminal_gets_shorter_lines_and_whole_commands() {
    let text = terminal(&failed(2), 44, 60);
    let is_command = |line: &str| line.contains("cargo xtask") || line.contains("services/");
    assert!(text.lines().filter(|line| !is_command(line)).all(|line| line.chars().count() <= 44), "{text}");
    insta::assert_snapshot!(text, @r#"
      verdict   step          seconds
    ✔ pass      setup             0.5
    ✔ pass      build-images      1.5
    ✘ findings  audit-env         2.5
    ✘ failed    compose-e2e       3.5

    ✘ compose-e2e/journey: step
      `create an order`: expected 201, got 500
    ✘ compose-e2e/down: compose down failed:
      network is in use
    ✘ compose.yaml:7 [required-unset]: user:
        PEER_0_URL is required, and nothing sets
        it
      compose.yaml:8 [required-unset]: user:
        PEER_1_URL is required, and nothing sets
        it
      next: set it there, or give it a default
        in services/user/src/config.rs and run
        `cargo xtask audit-env --write`
    ✘ services/user/Dockerfile:12 [image-user]:
        the user is "root"
        the same in services/order/Dockerfile:14
      next: USER 65532:65532
    ✘ FAILED verify (4 findings of 2 causes):
      compose-e2e/journey: step
      `create an order`: expected 201, got 500
    report target/xtask/reports/verify.json ·
    log target/xtask/logs/verify.log
    run it again: cargo xtask verify --db DIR
    "#);
}

#[test]
fn a_log_has_everything_with_words_instead_of_marks() {
    insta::assert_snapshot!(log(&failed(2)), @r#"
    verdict   step          checked                               seconds
    pass      setup         3 tools, 2 bases                          0.5
    pass      build-images  0 images built anew, 4 images proved      1.5
    findings  audit-env     4 findings                                2.5
    failed    compose-e2e                                             3.5

    failed: compose-e2e/journey: step `create an order`: expected 201, got 500
    failed: compose-e2e/down: compose down failed: network is in use
    finding: compose.yaml:7 [required-unset]: user: PEER_0_URL is required, and nothing sets it
             compose.yaml:8 [required-unset]: user: PEER_1_URL is required, and nothing sets it
             next: set it there, or give it a default in services/user/src/config.rs and run `cargo xtask audit-env --write`
    finding: services/user/Dockerfile:12 [image-user]: the user is "root"
               the same in services/order/Dockerfile:14
             next: USER 65532:65532
    FAILED verify (4 findings of 2 causes): compose-e2e/journey: step `create an order`: expected 201, got 500
    run it again: cargo xtask verify --db DIR
    "#);
}

#[test]
fn whatever_there_is_to_say_the_end_fits_the_terminal() {
    for findings in [0, 1, 5, 40, 400] {
        for height in [24, 30, 50] {
            let text = terminal(&failed(findings), 80, height);
            assert!(text.lines().count() < height, "{findings} findings, {height} lines: {text}");
            assert!(text.ends_with("run it again: cargo xtask verify --db DIR\n"), "{text}");
        }
    }
}

#[test]
fn colours_follow_the_verdict() {
    for (report, colour) in [(pass(), "\u{1b}[32m"), (incomplete(), "\u{1b}[33m"), (failed(1), "\u{1b}[31m")] {
        let text = report.text(&Screen { marks: true, ..Screen::default() });
        let verdict = text.lines().rev().find(|line| line.contains("verify\u{1b}")).unwrap();
        assert!(verdict.contains(colour), "{verdict:?}");
    }
}

#[test]
fn a_command_without_steps_says_what_it_checked_in_its_verdict() {
    let mut outcome = Outcome::default();
    outcome.checked("images", 4);
    let report = Report::running("scan", "cargo xtask scan").ended(outcome, 1.0);
    insta::assert_snapshot!(log(&report), @"PASS scan: 4 images in 1.0 s");
}

/// An `up` that came to nothing else than these failures.
fn stopped(stops: impl IntoIterator<Item = Stop>) -> Report {
    let mut outcome = Outcome::default();
    for stop in stops {
        outcome.fail(&stop.into());
    }
    Report::running("up", "cargo xtask up").ended(outcome, 1.0)
}

#[test]
fn a_refusal_is_said_once_and_its_own_next_step_is_the_last_word() {
    let text = "refused: there is no .env; next: put it back, or `cargo xtask down --volumes`";
    insta::assert_snapshot!(log(&stopped([Stop::Absent(text.into())])), @"BROKEN up: refused: there is no .env; next: put it back, or `cargo xtask down --volumes`");
    // Without one, and with a second failure, the command itself is what to run next.
    insta::assert_snapshot!(log(&stopped([Stop::Absent("no engine".into())])), @r"
    BROKEN up: no engine
    run it again: cargo xtask up
    ");
    insta::assert_snapshot!(log(&stopped([Stop::Absent(text.into()), Stop::Broken("no engine".into())])), @r"
    failed: up: refused: there is no .env; next: put it back, or `cargo xtask down --volumes`
    failed: up: no engine
    BROKEN up: refused: there is no .env; next: put it back, or `cargo xtask down --volumes`
    run it again: cargo xtask up
    ");
}

#[test]
fn strict_is_seen_in_the_verdict() {
    let mut outcome = Outcome { strict: true, ..Outcome::default() };
    outcome.unchecked("scan", "no database");
    let report = Report::running("verify", "cargo xtask verify --strict").ended(outcome, 1.0);
    insta::assert_snapshot!(log(&report), @r"
    not checked: scan (no database)
    INCOMPLETE verify: nothing wrong was found, and 1 thing was not checked (exit code 3) in 1.0 s
    ");
}

#[test]
fn evidence_and_every_table_are_shown_when_asked_for() {
    let mut outcome = Outcome { evidence: BTreeMap::new(), ..pass_outcome() };
    outcome.evidence("tools", serde_json::json!({ "docker": [{ "version": "28" }], "names": ["a", "b"] }));
    let mut report = Report::running("verify", "cargo xtask verify").ended(outcome, 1.0);
    report.steps.iter_mut().for_each(|step: &mut Step| step.seconds = 0.5);
    let text = report.text(&Screen { evidence: true, ..Screen::default() });
    insta::assert_snapshot!(anstream::adapter::strip_str(&text).to_string(), @r"
      tools:
        docker:
          - version 28
        names: a, b
    images
    image    size  limit
    user   4.2 MB  12 MB

    verdict  step          checked                               seconds
    pass     setup         3 tools, 2 bases                          0.5
    pass     build-images  0 images built anew, 4 images proved      0.5

    PASS verify: everything was checked, in 1.0 s
    next: cargo xtask up
    ");
}

fn pass_outcome() -> Outcome {
    Verify::new().built().outcome
}
