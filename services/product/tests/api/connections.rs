//! What the connections to the database cost, and what becomes of them when the database ends them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::StatusCode;
use mini_kit_api::database::{TRUSTED_IDLE, pool_options};
use sqlx::PgPool;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::catalogue::Catalogue;

const FOR_EVER: Duration = Duration::from_secs(3600);
const REQUESTS: usize = 10;

/// Counts the messages by which a client of Postgres asks for an answer (`Sync`): one for each round trip.
#[derive(Default)]
struct Messages {
    unread: Vec<u8>,
    has_started: bool,
}

impl Messages {
    fn syncs_in(&mut self, bytes: &[u8]) -> usize {
        self.unread.extend_from_slice(bytes);
        let mut count = 0;
        loop {
            // The first message alone has no type; the length counts itself.
            let kind = usize::from(self.has_started);
            let Some(length) = self.unread.get(kind..kind + 4) else { return count };
            let end = kind + u32::from_be_bytes(length.try_into().unwrap()) as usize;
            if self.unread.len() < end {
                return count;
            }
            count += usize::from(self.has_started && self.unread[0] == b'S');
            self.unread.drain(..end);
            self.has_started = true;
        }
    }
}

/// A way to the database that counts round trips.
async fn counted(pool: &PgPool) -> (u16, Arc<AtomicUsize>) {
    let options = pool.connect_options();
    let database = (options.get_host().to_owned(), options.get_port());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, count) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let total = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(database.clone()).await.unwrap();
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
            let total = Arc::clone(&total);
            tokio::spawn(async move {
                let (mut messages, mut buffer) = (Messages::default(), vec![0; 8192]);
                while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
                    total.fetch_add(messages.syncs_in(&buffer[..length]), Ordering::SeqCst);
                    if to_server.write_all(&buffer[..length]).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    (port, count)
}

/// The round trips of as many requests for one product, one after the other on one connection, and of what is around them: the
/// connection is given back before, and taken after.
async fn round_trips(pool: &PgPool, trusted_idle: Duration) -> usize {
    let (port, count) = counted(pool).await;
    let options = pool.connect_options().as_ref().clone().host("127.0.0.1").port(port);
    let counted = pool_options(1, trusted_idle).connect_with(options).await.unwrap();
    let catalogue = Catalogue::new(counted.clone());
    let path = format!("/products/{}", catalogue.create("Mug", 950).await["id"].as_str().unwrap());
    // The statement is prepared.
    assert_eq!(catalogue.get(&path).await.status, StatusCode::OK);
    let held = counted.acquire().await.unwrap();
    let before = count.load(Ordering::SeqCst);
    drop(held);
    for _ in 0..REQUESTS {
        assert_eq!(catalogue.get(&path).await.status, StatusCode::OK);
    }
    let held = counted.acquire().await.unwrap();
    let after = count.load(Ordering::SeqCst);
    drop(held);
    after - before
}

/// sqlx asks a connection that is given back whether it is in order, after the answer is on its way.
#[sqlx::test(migrator = "mini_product::MIGRATOR")]
async fn a_busy_connection_makes_one_round_trip_before_the_answer_and_one_after_it(pool: PgPool) {
    assert_eq!(round_trips(&pool, FOR_EVER).await, 1 + 2 * REQUESTS);
    // One that is not trusted makes one more each time it is taken.
    assert_eq!(round_trips(&pool, Duration::ZERO).await, 1 + 3 * REQUESTS + 1);
}

/// A catalogue whose connections the database has ended after a first request, and how to ask it for a product.
async fn after_a_restart(pool: &PgPool, trusted_idle: Duration) -> (Catalogue, String) {
    let options = pool.connect_options().as_ref().clone();
    let catalogue = Catalogue::new(pool_options(4, trusted_idle).connect_with(options).await.unwrap());
    let path = format!("/products/{}", catalogue.create("Mug", 950).await["id"].as_str().unwrap());
    assert_eq!(catalogue.get(&path).await.status, StatusCode::OK);
    let ended: Vec<bool> = sqlx::query_scalar(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    assert!(!ended.is_empty() && ended.iter().all(|ended| *ended), "{ended:?}");
    (catalogue, path)
}

#[sqlx::test(migrator = "mini_product::MIGRATOR")]
async fn connections_that_the_database_has_ended_cost_no_request(pool: PgPool) {
    let (catalogue, path) = after_a_restart(&pool, TRUSTED_IDLE).await;
    let ended = Instant::now();
    while ended.elapsed() < TRUSTED_IDLE {
        tokio::task::yield_now().await;
    }
    for _ in 0..REQUESTS {
        assert_eq!(catalogue.get(&path).await.status, StatusCode::OK);
    }
}

/// The control: without asking, the same restart does cost a request.
#[sqlx::test(migrator = "mini_product::MIGRATOR")]
async fn without_being_asked_a_connection_that_has_ended_costs_a_request(pool: PgPool) {
    let (catalogue, path) = after_a_restart(&pool, FOR_EVER).await;
    assert!(catalogue.get(&path).await.status.is_server_error());
}
