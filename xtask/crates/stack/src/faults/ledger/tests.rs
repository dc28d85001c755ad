use super::*;

const ALLOWED: [u16; 3] = [502, 503, 504];

fn record(kind: &str, key: Option<&str>, status: u16) -> Record {
    Record {
        kind: kind.to_owned(),
        key: key.map(ToOwned::to_owned),
        ended_unix_ms: 1000,
        ms: 10,
        status,
        problem: status >= 400,
        retry_after_seconds: (status == 503).then_some(1),
        id: (status == 201).then(|| format!("id-of-{}", key.unwrap_or_default())),
    }
}

fn load() -> Vec<Record> {
    vec![
        record("order", Some("a"), 201),
        record("order", Some("a"), 201),
        record("order", Some("b"), 503),
        record("order", Some("b"), 201),
        record("list", None, 200),
    ]
}

fn rows() -> Vec<(String, String)> {
    vec![("a".into(), "id-of-a".into()), ("b".into(), "id-of-b".into())]
}

fn rules(records: &[Record], orders: &[(String, String)]) -> Vec<&'static str> {
    judge(&ALLOWED, records, orders).into_iter().map(|(rule, _)| rule).collect()
}

#[test]
fn a_load_whose_every_order_is_there_once_is_fine() {
    assert_eq!(judge(&ALLOWED, &load(), &rows()), []);
}

#[test]
fn an_order_that_the_database_lost_is_found() {
    assert_eq!(rules(&load(), &rows()[..1]), ["write-lost"]);
    let other = vec![rows().remove(0), ("b".into(), "another".into())];
    assert_eq!(rules(&load(), &other), ["write-lost"]);
}

#[test]
fn an_order_that_exists_twice_is_found() {
    let mut stored = rows();
    stored.push(("b".into(), "second".into()));
    assert_eq!(rules(&load(), &stored), ["write-twice"]);
    let mut records = load();
    records[1].id = Some("second".into());
    assert_eq!(rules(&records, &rows()), ["write-twice"]);
}

#[test]
fn an_order_without_its_201_and_one_that_nobody_placed_are_found() {
    let mut records = load();
    records.push(record("order", Some("c"), 504));
    assert_eq!(rules(&records, &rows()), ["write-unanswered"]);
    let mut stored = rows();
    stored.push(("d".into(), "id-of-d".into()));
    assert_eq!(rules(&load(), &stored), ["write-from-nowhere"]);
}

#[test]
fn an_error_outside_the_documents_is_found() {
    for change in [
        (|record: &mut Record| record.status = 500) as fn(&mut Record),
        |record| record.status = 401,
        |record| record.status = 0,
        |record| record.problem = false,
        |record| record.retry_after_seconds = None,
    ] {
        let mut records = load();
        change(&mut records[2]);
        assert_eq!(rules(&records, &rows()), ["undocumented-error"], "{:?}", records[2]);
    }
}

#[test]
fn a_request_that_hung_is_found_and_a_slow_client_has_a_limit_of_its_own() {
    let mut records = load();
    records[4].ms = 12_001;
    assert_eq!(rules(&records, &rows()), ["request-hung"]);
    let mut slow = record("slow", None, 0);
    slow.ms = 7_000;
    records = load();
    records.push(slow);
    assert_eq!(rules(&records, &rows()), [""; 0]);
    records.last_mut().unwrap().ms = 8_001;
    assert_eq!(rules(&records, &rows()), ["request-hung"]);
}

#[test]
fn recovery_counts_from_the_fault_to_the_last_failure_of_any_kind() {
    let mut records = Vec::new();
    let kinds = ["order", "list"].map(ToOwned::to_owned);
    for kind in &kinds {
        for time in [500, 1200] {
            records.push(Record { ended_unix_ms: time, ..record(kind, None, 503) });
        }
        records.extend((0..5).map(|n| Record { ended_unix_ms: 1300 + n, ..record(kind, None, 200) }));
    }
    assert_eq!(recovered_after(&records, &kinds, 1000), Some(200));
    assert_eq!(recovered_after(&records, &kinds, 1250), Some(0));
    records.pop();
    assert_eq!(recovered_after(&records, &kinds, 1000), None);
}

#[test]
fn a_line_that_is_still_being_written_is_not_read_and_a_broken_one_is_an_error() {
    let line = r#"{"kind":"list","key":null,"ended_unix_ms":1,"ms":2,"status":200,"problem":false,"retry_after_seconds":null,"id":null}"#;
    assert_eq!(parse(&format!("{line}\n{{\"kind\":")).unwrap().len(), 1);
    assert_eq!(parse("").unwrap().len(), 0);
    assert!(parse("{\"kind\":\n").is_err());
}

#[test]
fn a_lost_request_breaks_the_promise_and_a_silent_client_proves_nothing() {
    let record = |status: u16| {
        let line = format!(
            r#"{{"kind":"kept","key":null,"ended_unix_ms":1,"ms":2,"status":{status},"problem":false,"retry_after_seconds":null,"id":null}}"#
        );
        parse(&format!("{line}\n")).unwrap().remove(0)
    };
    let rule = |statuses: &[u16]| {
        lost("kept", &statuses.iter().map(|status| record(*status)).collect::<Vec<_>>()).map(|(rule, _)| rule)
    };
    assert_eq!(rule(&[200, 503]), None);
    assert_eq!(rule(&[200, 0]), Some("request-lost"));
    assert_eq!((rule(&[]), rule(&[0])), (Some("nothing-proven"), Some("nothing-proven")));
}

#[test]
fn of_a_hundred_requests_the_slowest_is_beyond_p99_and_others_do_not_count() {
    let kinds = ["list".to_owned()];
    let mut records: Vec<_> = (1..=100).map(|ms| Record { ms, ..record("list", None, 200) }).collect();
    records.push(Record { ms: 5000, ..record("slow", None, 408) });
    records.push(Record { ms: 5000, ..record("list", None, 0) });
    assert_eq!(p99(&records, &kinds), Some(99));
    assert_eq!(p99(&records[..1], &kinds), Some(1));
    assert_eq!(p99(&[], &kinds), None);
}
