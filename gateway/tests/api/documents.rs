//! What there is to read at the gateway, and that problems lead there.

use mini_kit::problem::Kind;

use crate::harness::{Launch, Upstream};

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

#[test]
fn the_description_of_the_api_is_served_as_it_is_committed() {
    let gateway = Launch::before_nobody().start();
    let mut client = gateway.client();
    let response = client.ask(get("/openapi.json"));
    assert_eq!((response.status, response.one("content-type")), (200, "application/json"));
    assert!(response.body == include_bytes!("../../openapi.json"));
    let document: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    client.send("HEAD /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.try_receive(true).unwrap().one("content-length"), response.body.len().to_string());
}

#[test]
fn every_kind_of_problem_has_a_page_and_the_list_names_them_all() {
    let gateway = Launch::before_nobody().start();
    let mut client = gateway.client();
    let list = client.ask(get("/problems")).text();
    assert_eq!(list.lines().count(), Kind::ALL.len());
    for kind in Kind::ALL {
        let page = client.ask(get(&kind.uri()));
        assert_eq!((page.status, page.one("content-type")), (200, "text/plain; charset=utf-8"), "{kind:?}");
        assert!(page.text().starts_with(kind.title()) && page.text().contains(kind.meaning()), "{}", page.text());
        assert!(list.contains(&format!("{} {}  ", kind.status().as_u16(), kind.uri())), "{list}");
    }
}

#[test]
fn the_type_of_a_problem_leads_to_its_page() {
    let gateway = Launch::before_nobody().start();
    let mut client = gateway.client();
    for request in
        [get("/nowhere"), get("/problems/nothing-like-it"), get("/problems/"), get("/openapi.json/"), get("/users")]
    {
        let problem = client.ask(&request);
        assert!(problem.status >= 400, "{request}: {problem:?}");
        assert_eq!(client.ask(get(&problem.problem())).status, 200, "{request}");
    }
    let refused = client.ask("POST /problems HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}");
    assert_eq!((refused.status, refused.one("allow")), (405, "GET, HEAD"));
    assert_eq!(refused.problem(), "/problems/method-not-allowed");
}

/// Unlike probes: whoever reads them is a client like any other.
#[test]
fn documents_stand_behind_the_rate_limit_and_the_hosts() {
    let upstream = Upstream::echo();
    let launch = Launch::before(&upstream).with("RATE_LIMIT_PER_SECOND", "1").with("RATE_LIMIT_BURST", "1");
    let gateway = launch.with("ALLOWED_HOSTS", "shop.test").start();
    let mut client = gateway.client();
    assert_eq!(client.ask(get("/openapi.json")).status, 421);
    assert_eq!(client.ask(get("/openapi.json")).status, 429);
}
