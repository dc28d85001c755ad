//! Case J01: what belongs to a connection stays with it, and the rest arrives as often and in the order it was sent.

use crate::harness::{Client, Launch, Upstream};

#[test]
fn connection_headers_of_a_request_do_not_arrive() {
    let upstream = Upstream::echo();
    let gateway = Launch::before(&upstream).start();
    let response = gateway.client().ask(
        "GET /users HTTP/1.1\r\nHost: a\r\nConnection: close, X-Secret, Authorization, Host, Content-Type\r\n\
         X-Secret: 1\r\nTE: trailers\r\nKeep-Alive: 5\r\nProxy-Authorization: x\r\nProxy-Connection: y\r\n\
         Authorization: Bearer t\r\nContent-Type: text/plain\r\nAccept: a\r\nAccept: b\r\n\r\n",
    );
    assert_eq!(response.status, 200);
    let request = upstream.next();
    for gone in
        ["x-secret", "te", "keep-alive", "proxy-authorization", "proxy-connection", "connection", "transfer-encoding"]
    {
        assert!(!request.contains(&format!("\r\n{gone}:")), "{gone} in {request}");
    }
    let authority = upstream.address;
    for kept in [
        "authorization: Bearer t",
        "content-type: text/plain",
        "x-forwarded-for: 127.0.0.1",
        "via: 1.1 mini-gateway",
        &format!("host: {authority}"),
    ] {
        assert!(request.contains(&format!("\r\n{kept}\r\n")), "{kept} in {request}");
    }
    assert!(request.find("accept: a") < request.find("accept: b") && request.contains("accept: a"), "{request}");
}

#[test]
fn connection_headers_of_a_response_do_not_arrive_and_the_connection_stays() {
    let upstream = Upstream::start(|connection| {
        connection.request();
        connection.write(
            "HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=1\r\nTrailer: X-T\r\n\
             Proxy-Authenticate: Basic\r\nUpgrade: h2c\r\nSet-Cookie: a=1\r\nVary: Accept\r\nSet-Cookie: b=2\r\n\
             Vary: Origin\r\nX-Request-Id: theirs\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nok",
        );
    });
    let gateway = Launch::before(&upstream).start();
    let mut client = gateway.client();
    for _ in 0..2 {
        let response = client.ask("GET /users HTTP/1.1\r\nHost: a\r\nX-Request-Id: ours\r\n\r\n");
        for gone in ["connection", "x-hop", "keep-alive", "trailer", "proxy-authenticate", "upgrade"] {
            assert!(response.all(gone).is_empty(), "{gone} in {response:?}");
        }
        assert_eq!(response.all("set-cookie"), ["a=1", "b=2"]);
        assert_eq!(response.all("vary"), ["Accept", "Origin"]);
        assert_eq!(response.one("x-request-id"), "ours");
        assert_eq!((response.one("content-encoding"), response.one("content-length")), ("gzip", "2"));
        assert_eq!(response.text(), "ok");
    }
}

#[test]
fn responses_without_a_body_keep_the_rules_of_content_length() {
    let upstream = Upstream::start(|connection| {
        while let Some(request) = connection.request() {
            let request = String::from_utf8(request).unwrap();
            connection.write(match request.split(' ').nth(1).unwrap() {
                "/users/204" => "HTTP/1.1 204 No Content\r\n\r\n",
                "/users/304" => "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 7\r\n\r\n",
                _ => "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n",
            });
        }
    });
    let gateway = Launch::before(&upstream).start();
    let mut client = gateway.client();
    let head = |client: &mut Client, request: &str| client.send(request).try_receive(true).unwrap();
    let response = head(&mut client, "HEAD /users HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((response.status, response.one("content-length")), (200, "7"));
    let response = head(&mut client, "GET /users/204 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((response.status, response.all("content-length")), (204, vec![]));
    let response = head(&mut client, "GET /users/304 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((response.status, response.one("etag")), (304, "\"a\""));
    // The connection is still in step.
    let response = head(&mut client, "HEAD /users HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(response.status, 200);
}

#[test]
fn versions_do_not_cross() {
    let upstream = Upstream::start(|connection| {
        connection.request();
        connection.write("HTTP/1.0 200 OK\r\nContent-Length: 13\r\n\r\nuntil the end");
    });
    let gateway = Launch::before(&upstream).start();
    let mut client = gateway.client();
    for _ in 0..2 {
        assert_eq!(client.ask("GET /users HTTP/1.1\r\nHost: a\r\n\r\n").text(), "until the end");
    }
    let response = gateway.client().ask("GET /users HTTP/1.0\r\n\r\n");
    assert_eq!(response.text(), "until the end");
    assert!(upstream.so_far().iter().all(|request| request.starts_with("GET /users HTTP/1.1\r\n")));
}
