//! The raw-socket suite: whatever a client sends, no upstream sees more, less or other requests than the gateway did.

use crate::harness::{Gateway, Launch, Upstream};

/// A gateway that soon gives up waiting, so that each case comes to its end.
fn impatient(upstream: &Upstream) -> Gateway {
    Launch::before(upstream).with("HEADER_READ_TIMEOUT", "200ms").with("REQUEST_TIMEOUT", "500ms").start()
}

/// Sends bytes and returns the statuses of all answers until the gateway closes the connection.
fn statuses(gateway: &Gateway, bytes: &str) -> Vec<u16> {
    let mut client = gateway.client();
    client.send_if_open(bytes);
    std::iter::from_fn(|| client.try_receive(false)).map(|response| response.status).collect()
}

#[test]
fn messages_that_could_be_read_in_two_ways_are_refused() {
    let upstream = Upstream::echo();
    let gateway = impatient(&upstream);
    let post = "POST /orders HTTP/1.1\r\nHost: a\r\n";
    for (name, message) in [
        ("two lengths", format!("{post}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd")),
        ("a list of lengths", format!("{post}Content-Length: 3, 4\r\n\r\nabcd")),
        ("a signed length", format!("{post}Content-Length: +3\r\n\r\nabc")),
        ("a negative length", format!("{post}Content-Length: -3\r\n\r\nabc")),
        ("a hexadecimal length", format!("{post}Content-Length: 0x3\r\n\r\nabc")),
        ("an empty length", format!("{post}Content-Length: \r\n\r\nabc")),
        ("an unknown coding", format!("{post}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n")),
        ("a coding before chunked", format!("{post}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n")),
        ("a coding after chunked", format!("{post}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n")),
        ("chunked twice", format!("{post}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")),
        ("two codings", format!("{post}Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")),
        ("a quoted coding", format!("{post}Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n")),
        ("a vertical tab", format!("{post}Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n")),
        ("a blank before the colon", format!("{post}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n")),
        ("a tab before the colon", format!("{post}Content-Length\t: 3\r\n\r\nabc")),
        ("a folded line", format!("{post}X: a\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")),
        ("a folded first line", "POST /orders HTTP/1.1\r\n Host: a\r\nContent-Length: 0\r\n\r\n".to_owned()),
        ("a bare CR in a value", format!("{post}X: a\rTransfer-Encoding: chunked\r\n\r\n")),
        ("a bare CR in a name", format!("{post}X\r: a\r\n\r\n")),
        ("a NUL in a value", format!("{post}X: a\0b\r\n\r\n")),
        ("a line without a colon", format!("{post}nonsense\r\n\r\n")),
        ("an empty name", format!("{post}: a\r\n\r\n")),
        ("coded HTTP/1.0", "POST /orders HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned()),
        ("no host", "GET /orders HTTP/1.1\r\n\r\n".to_owned()),
        ("two hosts", "GET /orders HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n".to_owned()),
        ("a host with a path", "GET /orders HTTP/1.1\r\nHost: a/b\r\n\r\n".to_owned()),
        ("a host with a user", "GET /orders HTTP/1.1\r\nHost: b@a\r\n\r\n".to_owned()),
        ("an empty host", "GET /orders HTTP/1.1\r\nHost:\r\n\r\n".to_owned()),
        ("two blanks", "GET  /orders HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        ("a tab in the request line", "GET\t/orders\tHTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        ("a third word", "GET /orders x HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        ("another version", "GET /orders HTTP/1.2\r\nHost: a\r\n\r\n".to_owned()),
        ("no version", "GET /orders\r\n\r\n".to_owned()),
        ("the beginning of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()),
        ("TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\u{7f}\x03\x03".to_owned()),
    ] {
        let answers = statuses(&gateway, &message);
        assert!(answers.iter().all(|status| [400, 501].contains(status)) && answers.len() <= 1, "{name}: {answers:?}");
    }
    assert_eq!(upstream.so_far(), Vec::<String>::new());
}

#[test]
fn bodies_that_are_not_framed_as_announced_never_arrive_whole() {
    let upstream = Upstream::echo();
    let gateway = impatient(&upstream);
    let post = "POST /orders HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (name, body) in [
        ("no size", "\r\nabc\r\n0\r\n\r\n"),
        ("a bad size", "x\r\nabc\r\n0\r\n\r\n"),
        ("a prefixed size", "0x3\r\nabc\r\n0\r\n\r\n"),
        ("a signed size", "+3\r\nabc\r\n0\r\n\r\n"),
        ("a huge size", "fffffffffffffffff\r\nabc\r\n0\r\n\r\n"),
        ("data longer than its size", "3\r\nabcd\r\n0\r\n\r\n"),
        ("a size line that ends with LF", "3\nabc\r\n0\r\n\r\n"),
        ("data that ends with LF", "3\r\nabc\n0\r\n\r\n"),
        ("a CR within an extension", "3;a\rb\r\nabc\r\n0\r\n\r\n"),
        ("no last chunk", "3\r\nabc\r\n"),
    ] {
        let answers = statuses(&gateway, &format!("{post}{body}"));
        assert!(answers.iter().all(|status| [400, 408].contains(status)) && answers.len() <= 1, "{name}: {answers:?}");
    }
    assert_eq!(upstream.so_far(), Vec::<String>::new());
}

/// RFC 9112 section 6.3: the transfer coding wins, and the connection has to end, because a proxy in front that went by
/// the length would take the rest for the next request.
#[test]
fn with_both_a_length_and_a_coding_the_coding_wins_and_the_connection_ends() {
    let upstream = Upstream::echo();
    let gateway = impatient(&upstream);
    let smuggled = "GET /users/smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    for headers in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: nonsense\r\n",
        "Content-Length: 60\r\nTransfer-Encoding: chunked\r\n",
    ] {
        let message = format!("POST /orders HTTP/1.1\r\nHost: a\r\n{headers}\r\n0\r\n\r\n{smuggled}");
        assert_eq!(statuses(&gateway, &message), [200], "{headers}");
        let seen = upstream.next();
        assert!(seen.starts_with("POST /orders ") && !seen.contains("content-length"), "{seen}");
    }
    assert_eq!(upstream.so_far(), Vec::<String>::new(), "what followed was taken for a request");
}

#[test]
fn requests_one_after_the_other_stay_apart() {
    let upstream = Upstream::echo();
    let gateway = impatient(&upstream);
    let message = "POST /orders/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc\
                   GET /orders/2 HTTP/1.1\r\nHost: a\r\n\r\n\
                   POST /orders/3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n3;ext=1\r\nabc\r\n0\r\n\r\n\
                   GET /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\
                   GET /orders/5 HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(statuses(&gateway, message), [200, 200, 200, 404, 200]);
    let seen: Vec<String> = (0..4).map(|_| upstream.next()).collect();
    for (request, path) in seen.iter().zip(["/orders/1", "/orders/2", "/orders/3", "/orders/5"]) {
        assert!(request.contains(&format!(" {path} HTTP/1.1\r\n")), "{request}");
    }
    assert!(seen[0].ends_with("\r\n\r\nabc") && seen[1].ends_with("\r\n\r\n") && seen[2].ends_with("\r\n\r\nabc"));
    assert_eq!(upstream.so_far(), Vec::<String>::new());
}

/// RFC 9112 section 2.2 lets a server take a bare LF for the end of a line. The upstream gets CRLF, so there is only one
/// reading behind the gateway.
#[test]
fn a_bare_line_feed_ends_a_line_and_is_not_passed_on() {
    let upstream = Upstream::echo();
    let gateway = impatient(&upstream);
    assert_eq!(statuses(&gateway, "GET /orders HTTP/1.1\nHost: a\nX: b\n\n"), [200]);
    let seen = upstream.next();
    assert!(seen.lines().count() > 3 && !seen.replace("\r\n", "").contains('\n'), "{seen}");
}
