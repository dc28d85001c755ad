//! What operators see: metrics, and one request followed by its ids.

use serde_json::Value;

use crate::harness::{Client, Launch, Upstream};

#[test]
fn metrics_are_off_unless_they_are_asked_for() {
    let mut gateway = Launch::before_nobody().start();
    assert_eq!(gateway.client().ask("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").status, 404);
    assert!(gateway.metrics_address.is_none());
    gateway.terminate();
    gateway.wait_for_line(|line| line["message"] == "stopped");
}

#[test]
fn metrics_count_requests_failures_and_connections_on_an_address_of_their_own() {
    let upstream = Upstream::echo();
    let launch = Launch::before(&upstream).with("ORDER_URL", "http://127.0.0.1:1");
    let gateway = launch.with("METRICS_ADDRESS", "127.0.0.1:0").with("MAX_CONNECTIONS_PER_CLIENT", "4").start();
    let address = gateway.metrics_address.expect("the gateway serves metrics");
    let ask = |request: &str| gateway.client().ask(request).status;
    for _ in 0..3 {
        assert_eq!(ask("GET /products?limit=1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"), 200);
    }
    assert_eq!(ask("GET /orders HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"), 502);
    assert_eq!(ask("BREW /users HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"), 200);
    assert_eq!(ask("nonsense\r\n\r\n"), 400);
    // As a client of whom nothing is left over from before.
    let connect = || Client::connect_from([127, 0, 3, 1].into(), gateway.address);
    let mut open: Vec<_> = (0..4).map(|_| connect()).collect();
    // Threads accept in an order of their own; who has an answer has been let in.
    assert!(open.iter_mut().all(|client| client.ask("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").status == 200));
    assert!(connect().is_closed());
    assert_eq!(ask_metrics(address, "/metrics").0, 200);
    let (_, text) = ask_metrics(address, "/metrics");
    for line in [
        "build_info{service=\"mini-gateway\",",
        "http_requests_total{method=\"GET\",route=\"product\",status=\"200\"} 3\n",
        "http_requests_total{method=\"GET\",route=\"order\",status=\"502\"} 1\n",
        "http_requests_total{method=\"other\",route=\"user\",status=\"200\"} 1\n",
        "http_requests_total{method=\"unknown\",route=\"\",status=\"400\"} 1\n",
        "http_request_duration_seconds_count{route=\"product\"} 3\n",
        "http_connections_closed_total{reason=\"over-share\"} 1\n",
        "upstream_failures_total{upstream=\"order\",status=\"502\"} 1\n",
        "# EOF\n",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
    drop(open);
    assert_eq!(ask_metrics(address, "/healthz").0, 404, "nothing else is there");
    assert_eq!(gateway.client().ask("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").status, 404, "and nothing here");
}

fn ask_metrics(address: std::net::SocketAddr, path: &str) -> (u16, String) {
    let response = Client::connect(address).ask(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
    (response.status, response.text())
}

#[test]
fn a_trace_goes_on_behind_the_gateway_and_its_id_is_in_the_log() {
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    let upstream = Upstream::echo();
    let mut gateway = Launch::before(&upstream).start();
    let header = |seen: &str, name: &str| {
        let line = seen.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")).map(str::to_owned));
        line.unwrap_or_default()
    };
    let parent = format!("00-{TRACE}-b7ad6b7169203331-01");
    let response = gateway.client().ask(format!(
        "GET /users HTTP/1.1\r\nHost: a\r\nTraceparent: {parent}\r\nTracestate: vendor=1\r\nX-Request-Id: my-request\r\n\r\n"
    ));
    assert_eq!(response.one("x-request-id"), "my-request");
    let seen = upstream.next();
    let passed_on = header(&seen, "traceparent");
    assert!(passed_on.starts_with(&format!("00-{TRACE}-")) && passed_on.ends_with("-01"), "{seen}");
    assert_ne!(passed_on, parent, "the step from here to there has an id of its own");
    assert_eq!(
        (header(&seen, "tracestate").as_str(), header(&seen, "x-request-id").as_str()),
        ("vendor=1", "my-request")
    );
    let line = gateway.wait_for_line(|line| line["message"] == "request");
    assert_eq!((&line["trace_id"], &line["request_id"]), (&Value::from(TRACE), &Value::from("my-request")));

    gateway.client().ask("GET /users HTTP/1.1\r\nHost: a\r\nTraceparent: nonsense\r\nTracestate: vendor=1\r\n\r\n");
    let seen = upstream.next();
    let line = gateway.wait_for_line(|line| line["message"] == "request");
    let trace = line["trace_id"].as_str().unwrap();
    assert!(header(&seen, "traceparent").starts_with(&format!("00-{trace}-")), "{seen}");
    assert_eq!((trace.len(), header(&seen, "tracestate").as_str()), (32, ""));
}
