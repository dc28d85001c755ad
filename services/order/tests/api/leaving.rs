//! Clients that leave and requests that take too long: an order is there whole or not at all.

use std::net::SocketAddr;
use std::time::Duration;

use http::StatusCode;
use hyper_util::service::TowerToHyperService;
use mini_kit::server;
use mini_kit::server::Settings;
use mini_kit::shutdown::{self, Phase};
use sqlx::PgPool;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use crate::shop::{PEN, Shop, User, items, settings};
use crate::stalled::Stalled;
use crate::upstream::Upstream;

const LEAVERS: usize = 200;
/// The longest that anything may take that should take no time.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends an order and does not wait for the answer.
async fn order_from(address: SocketAddr, user: &User) -> TcpStream {
    let body = items(&[(PEN, 1)]).to_string();
    let request = format!(
        "POST /orders HTTP/1.1\r\nHost: order\r\nAuthorization: {}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        user.authorization,
        body.len()
    );
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// Takes every connection of the pool at once: none is lost, and none came back inside a transaction.
async fn assert_all_connections_work(pool: &PgPool) {
    let mut connections = Vec::new();
    for _ in 0..pool.options().get_max_connections() {
        connections.push(tokio::time::timeout(PATIENCE, pool.acquire()).await.unwrap().unwrap());
    }
    for connection in &mut connections {
        let in_transaction: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity
             WHERE datname = current_database() AND state LIKE 'idle in transaction%'",
        )
        .fetch_one(&mut **connection)
        .await
        .unwrap();
        assert_eq!(in_transaction, 0);
    }
}

#[sqlx::test(migrator = "mini_order::MIGRATOR")]
async fn two_hundred_clients_that_leave_half_way_leave_no_half_order(pool: PgPool) {
    let mut stalled = Stalled::before_items(&pool).await;
    let shop = Shop::new(pool.clone()).await;
    let user = shop.user();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (trigger, shutdown) = shutdown::channel();
    let service = TowerToHyperService::new(shop.router.clone());
    let limits = settings().limits;
    let server =
        tokio::spawn(async move { server::serve(listener, service, &server::Terms::plain(limits), &shutdown).await });

    let mut clients = Vec::new();
    for _ in 0..LEAVERS {
        clients.push(order_from(address, &user).await);
    }
    // Every connection of the pool stands between the two inserts of an order when the clients leave.
    let at_once = pool.options().get_max_connections();
    stalled.waiting(at_once.into()).await;
    drop(clients);
    stalled.release().await;
    // The server ends when no request is in flight any more.
    trigger.advance(Phase::Stopping);
    tokio::time::timeout(PATIENCE, server).await.unwrap().unwrap();

    let (orders, without_items) = shop.count_orders().await;
    assert_eq!(without_items, 0);
    // A client that leaves does not stop its order, and those that stood half-way are surely there.
    assert!(orders >= at_once.into(), "{orders} orders");
    assert_all_connections_work(&pool).await;
    assert_eq!(shop.buy(&user, None).await.status, StatusCode::CREATED);
}

#[sqlx::test(migrator = "mini_order::MIGRATOR")]
async fn requests_that_run_out_of_time_half_way_leave_no_order_and_no_broken_connection(pool: PgPool) {
    let mut stalled = Stalled::before_items(&pool).await;
    let short = Settings { request_timeout: Duration::from_secs(1), ..settings() };
    let hurried = Shop::within(pool.clone(), Upstream::selling([(PEN, (150, "EUR"))]).await, PATIENCE, short);
    let user = hurried.user();
    for _ in 0..2 {
        let (one, two) = tokio::join!(hurried.buy(&user, Some("one")), hurried.buy(&user, Some("two")));
        assert_eq!((one.status, two.status), (StatusCode::SERVICE_UNAVAILABLE, StatusCode::SERVICE_UNAVAILABLE));
    }
    assert_eq!(hurried.count_orders().await, (0, 0));
    stalled.release().await;
    assert_all_connections_work(&pool).await;
    assert_eq!(hurried.count_orders().await, (0, 0));
    let shop = Shop::new(pool).await;
    for key in ["one", "two"] {
        let answer = shop.buy(&user, Some(key)).await;
        assert_eq!((answer.status, answer.is_replay()), (StatusCode::CREATED, false));
    }
}
