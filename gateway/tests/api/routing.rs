//! Case J04: the path that is checked is the path that is sent.

use crate::harness::{Launch, Upstream};

#[test]
fn each_prefix_has_its_upstream() {
    let upstreams = [("users", Upstream::echo()), ("products", Upstream::echo()), ("orders", Upstream::echo())];
    let url = |index: usize| upstreams[index].1.url();
    let launch = Launch::before_nobody().with("USER_URL", url(0)).with("PRODUCT_URL", url(1));
    let gateway = launch.with("ORDER_URL", url(2)).start();
    for (prefix, upstream) in &upstreams {
        let response = gateway.client().ask(format!("GET /{prefix}/1 HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(response.status, 200);
        let request = upstream.next();
        assert!(request.starts_with(&format!("GET /{prefix}/1 HTTP/1.1\r\n")), "{request}");
        assert!(request.contains(&format!("\r\nhost: {}\r\n", upstream.address)), "{request}");
    }
}

#[test]
fn path_and_query_arrive_to_the_byte() {
    let upstream = Upstream::echo();
    let gateway = Launch::before(&upstream).start();
    let mut client = gateway.client();
    for target in [
        "/orders?a=1&a=2&b&c=%2F+%20&q=ü",
        "/orders/",
        "/orders/%C3%BC/a%20b",
        "/orders/a:b@c!$&'()*+,=~-._",
        "/orders?",
        "/orders?a=../../x&b=//&c=;d&e=%zz&f=%00",
        "/users/%41%6c",
    ] {
        let response = client.ask(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(response.status, 200, "{target}");
        let request = upstream.next();
        assert_eq!(request.lines().next().unwrap(), format!("GET {target} HTTP/1.1"));
    }
}

#[test]
fn a_path_with_two_readings_or_without_a_route_never_leaves_the_gateway() {
    let upstream = Upstream::echo();
    let gateway = Launch::before(&upstream).start();
    for (target, expected) in [
        ("/orders/../users/1", 400),
        ("/orders/%2e%2e/users/1", 400),
        ("/orders/%2E%2e%2Fusers", 400),
        ("/orders/%252e%252e%252fusers", 400),
        ("/orders/..%5cusers", 400),
        ("/orders/a\\..\\b", 400),
        ("/users/login/../me", 400),
        ("/users/login/./me", 400),
        ("/mine%2F..%2Fvictim", 400),
        ("//orders", 400),
        ("/orders//1", 400),
        ("//evil.test/x", 400),
        ("/orders;x=1", 400),
        ("/orders/%00", 400),
        ("/orders/%zz", 400),
        ("/orders/ü", 400),
        ("http://evil.test/orders", 400),
        ("http://a/orders", 400),
        ("*", 400),
        ("orders", 400),
        ("/ORDERS", 404),
        ("/ordersX", 404),
        ("/api/orders", 404),
        ("/", 404),
        ("/metrics", 404),
        ("/healthz/x", 404),
    ] {
        let response = gateway.client().ask(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(response.status, expected, "{target}: {response:?}");
    }
    assert_eq!(upstream.so_far(), Vec::<String>::new());
}

#[test]
fn methods_that_open_tunnels_or_show_requests_are_refused() {
    let upstream = Upstream::echo();
    let gateway = Launch::before(&upstream).start();
    for line in ["CONNECT evil.test:443", "CONNECT /orders", "TRACE /orders"] {
        let response = gateway.client().ask(format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert!([400, 501].contains(&response.status), "{line}: {response:?}");
    }
    assert_eq!(upstream.so_far(), Vec::<String>::new());
}
