//! Case J03: who is calling is what the gateway knows, not what the caller says.

use crate::harness::{Gateway, Launch, Upstream};

const FORGED: &str = "X-User-Id: 1\r\nx-user-ID: 1\r\nx-user-ID: 2\r\nX_User_Id: 1\r\nX-User-Role: admin\r\n\
     X-User_Role: admin\r\nForwarded: for=1.2.3.4;host=evil.test\r\nX-Forwarded-For: 1.2.3.4, 127.0.0.1\r\n\
     X_Forwarded_For: 1.2.3.4\r\nX-Real-IP: 1.2.3.4\r\nX-Forwarded-Host: evil.test\r\nX-Forwarded-Proto: https\r\n\
     X-Forwarded-Port: 1\r\n";

fn lines_after(gateway: &Gateway, upstream: &Upstream, target: &str, headers: &str) -> Vec<String> {
    let response = gateway.client().ask(format!("GET {target} HTTP/1.1\r\n{headers}\r\n"));
    assert_eq!(response.status, 200, "{response:?}");
    let mut lines: Vec<String> = upstream.next().lines().skip(1).map(str::to_owned).collect();
    let is_new_each_time =
        |line: &str| ["x-request-id: ", "traceparent: ", "host: "].iter().any(|name| line.starts_with(name));
    lines.retain(|line| !line.is_empty() && !is_new_each_time(line));
    lines.sort();
    lines
}

#[test]
fn forged_headers_are_replaced_on_every_route() {
    let upstream = Upstream::echo();
    let gateway = Launch::before(&upstream).start();
    for target in ["/products", "/users/login", "/orders"] {
        let headers = format!("Host: evil.test\r\n{FORGED}Authorization: Bearer t\r\n");
        assert_eq!(
            lines_after(&gateway, &upstream, target, &headers),
            [
                "authorization: Bearer t",
                "forwarded: for=127.0.0.1;proto=http",
                "via: 1.1 mini-gateway",
                "x-forwarded-for: 127.0.0.1",
                "x-forwarded-proto: http",
                "x-real-ip: 127.0.0.1",
            ]
        );
    }
}

#[test]
fn a_trusted_proxy_extends_the_chain_and_still_gives_no_identity() {
    let upstream = Upstream::echo();
    let gateway = Launch::before(&upstream).with("TRUSTED_PROXIES", "127.0.0.0/8, 10.0.0.0/8").start();
    let headers = "Host: a\r\nX-User-Id: 1\r\nX-Forwarded-For: 6.6.6.6, 203.0.113.7, 10.1.2.3\r\n\
                   Forwarded: for=9.9.9.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.test\r\n";
    assert_eq!(
        lines_after(&gateway, &upstream, "/users", headers),
        [
            "forwarded: for=203.0.113.7;proto=https;host=\"shop.test\", for=10.1.2.3, for=127.0.0.1",
            "via: 1.1 mini-gateway",
            "x-forwarded-for: 203.0.113.7, 10.1.2.3, 127.0.0.1",
            "x-forwarded-host: shop.test",
            "x-forwarded-proto: https",
            "x-real-ip: 203.0.113.7",
        ]
    );
}

#[test]
fn the_field_of_the_trusted_proxies_can_be_forwarded() {
    let upstream = Upstream::echo();
    let launch = Launch::before(&upstream).with("TRUSTED_PROXIES", "127.0.0.1");
    let gateway = launch.with("TRUSTED_PROXIES_HEADER", "forwarded").start();
    let headers = "Host: a\r\nX-Forwarded-For: 6.6.6.6\r\nForwarded: for=\"[2001:db8::1]:5\";proto=https\r\n";
    let lines = lines_after(&gateway, &upstream, "/users", headers);
    assert!(lines.contains(&"x-forwarded-for: 2001:db8::1, 127.0.0.1".to_owned()), "{lines:?}");
    assert!(lines.contains(&"x-forwarded-proto: https".to_owned()), "{lines:?}");
}

#[test]
fn a_host_outside_the_list_is_misdirected_and_one_inside_is_passed_on() {
    let upstream = Upstream::echo();
    let gateway = Launch::before(&upstream).with("ALLOWED_HOSTS", "shop.test, www.shop.test").start();
    let refused = gateway.client().ask("GET /users HTTP/1.1\r\nHost: evil.test\r\n\r\n");
    assert_eq!((refused.status, refused.problem().as_str()), (421, "/problems/unknown-host"));
    let lines =
        lines_after(&gateway, &upstream, "/users", "Host: www.shop.test:8080\r\nX-Forwarded-Host: evil.test\r\n");
    assert!(lines.contains(&"x-forwarded-host: www.shop.test:8080".to_owned()), "{lines:?}");
}

#[test]
fn the_log_has_the_client_and_neither_headers_nor_queries() {
    let upstream = Upstream::echo();
    let mut gateway = Launch::before(&upstream).with("TRUSTED_PROXIES", "127.0.0.1").start();
    let request = "GET /users/me?token=hidden HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.7\r\n\
                   X-Request-Id: id-1\r\nAuthorization: Bearer hidden\r\n\r\n";
    assert_eq!(gateway.client().ask(request).status, 200);
    let line = gateway.wait_for_line(|line| line["request_id"] == "id-1");
    assert_eq!((&line["path"], &line["status"], &line["upstream"]), (&"/users/me".into(), &200.into(), &"user".into()));
    assert_eq!((&line["client"], &line["method"]), (&"203.0.113.7".into(), &"GET".into()));
    assert!(line["duration_ms"].is_number() && !line.to_string().contains("hidden"), "{line}");
}
