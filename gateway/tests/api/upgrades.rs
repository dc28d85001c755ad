//! Case J02: another protocol is refused, cleanly, and no upstream hears of it.

use crate::harness::{Launch, Upstream};

#[test]
fn every_form_of_upgrade_is_refused() {
    let upstream = Upstream::echo();
    let gateway = Launch::before(&upstream).start();
    let handshake = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
    for headers in [
        &format!("Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nAuthorization: Bearer t\r\n{handshake}"),
        &format!("Connection: Upgrade\r\nUpgrade: websocket\r\n{handshake}"),
        "Connection: keep-alive\r\nConnection: UPGRADE\r\nUpgrade: foo\r\n",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
        "Upgrade: websocket\r\n",
        "Connection: keep-alive, upgrade\r\n",
    ] {
        for version in ["1.1", "1.0"] {
            let mut client = gateway.client();
            let response = client.ask(format!("GET /users HTTP/{version}\r\nHost: a\r\n{headers}\r\n"));
            assert_eq!((response.status, response.problem().as_str()), (501, "/problems/upgrade-not-supported"));
            assert!(client.is_closed(), "what follows could be read as the other protocol: {headers}");
        }
    }
    // A client that goes away in the middle of its handshake leaves nothing behind.
    gateway.client().send("GET /users HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgr");
    assert_eq!(gateway.client().ask("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
    assert_eq!(upstream.so_far(), Vec::<String>::new());
}

#[test]
fn an_upstream_that_switches_unasked_is_a_bad_gateway() {
    let upstream =
        Upstream::constant("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n");
    let gateway = Launch::before(&upstream).start();
    let response = gateway.client().ask("GET /users HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((response.status, response.problem().as_str()), (502, "/problems/bad-gateway"));
}
