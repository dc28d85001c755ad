//! Requests with one key at the same time.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use mini_order::store;
use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection, PgConnection, PgPool, PgTransaction};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::shop::{Answer, INK, PEN, Shop, User, items};
use crate::stalled::Stalled;
use crate::upstream::Upstream;

const TWINS: usize = 100;
/// How many of the twins have looked for the key, and found nothing, before the first order is written: the catalogue
/// answers nobody earlier. Less than the look-ups that the service allows at once.
const AT_ONCE: usize = 50;

async fn shop_for_a_race(pool: PgPool) -> Arc<Shop> {
    Arc::new(Shop::with(pool, Upstream::selling_from(AT_ONCE, [(PEN, (150, "EUR"))]).await))
}

/// Sends the same order under the same key, [`TWINS`] times at once. The first order stands still between its inserts
/// until every connection of the pool is in the middle of writing one.
async fn race(shop: &Arc<Shop>) -> Vec<Answer> {
    let mut stalled = Stalled::before_items(&shop.pool).await;
    let user = shop.user();
    let mut twins = JoinSet::new();
    for _ in 0..TWINS {
        let (shop, user) = (Arc::clone(shop), user.clone());
        twins.spawn(async move { shop.buy(&user, Some("key")).await });
    }
    stalled.release_when_waiting(shop.pool.options().get_max_connections().into()).await;
    twins.join_all().await
}

/// What is wrong with the end of a race, for there to be one order and every twin to have it.
async fn check_one_order(shop: &Shop, answers: &[Answer]) -> Result<(), String> {
    let (orders, empty) = shop.count_orders().await;
    if orders != 1 || empty != 0 {
        return Err(format!("{orders} orders, {empty} of them without items"));
    }
    if let Some(other) = answers.iter().find(|answer| answer.status != StatusCode::CREATED) {
        return Err(format!("an answer is not 201: {other:?}"));
    }
    let bodies: HashSet<_> = answers.iter().map(|answer| &answer.bytes).collect();
    if bodies.len() != 1 {
        return Err(format!("{} different bodies", bodies.len()));
    }
    match answers.iter().filter(|answer| !answer.is_replay()).count() {
        1 => Ok(()),
        first => Err(format!("{first} answers claim to be the first")),
    }
}

#[sqlx::test(migrator = "mini_order::MIGRATOR")]
async fn a_hundred_requests_with_one_key_make_one_order(pool: PgPool) {
    let shop = shop_for_a_race(pool).await;
    let answers = race(&shop).await;
    assert_eq!(answers.len(), TWINS);
    check_one_order(&shop, &answers).await.unwrap();
}

/// The check of the test above can fail: without the constraint that the promise rests on, it does.
#[sqlx::test(migrator = "mini_order::MIGRATOR")]
async fn without_the_unique_constraint_the_same_race_makes_more_orders(pool: PgPool) {
    sqlx::query("ALTER TABLE orders DROP CONSTRAINT orders_one_per_idempotency_key").execute(&pool).await.unwrap();
    let shop = shop_for_a_race(pool).await;
    let answers = race(&shop).await;
    let (orders, _) = shop.count_orders().await;
    assert!(orders >= i64::try_from(AT_ONCE).unwrap(), "{orders} orders");
    check_one_order(&shop, &answers).await.unwrap_err();
}

#[sqlx::test(migrator = "mini_order::MIGRATOR")]
async fn one_key_of_many_users_at_once_makes_one_order_each(pool: PgPool) {
    let shop = Arc::new(Shop::new(pool).await);
    let users: Vec<User> = (0..10).map(|_| shop.user()).collect();
    let mut requests = JoinSet::new();
    for number in 0..TWINS {
        let (shop, user) = (Arc::clone(&shop), users[number % users.len()].clone());
        requests.spawn(async move { shop.buy(&user, Some("key")).await });
    }
    let answers = requests.join_all().await;
    assert_eq!(shop.count_orders().await, (10, 0));
    assert_eq!(answers.iter().filter(|answer| !answer.is_replay()).count(), 10);
    assert_eq!(answers.iter().map(|answer| &answer.bytes).collect::<HashSet<_>>().len(), 10);
}

#[sqlx::test(migrator = "mini_order::MIGRATOR")]
async fn a_twin_waits_for_the_order_that_is_being_written(pool: PgPool) {
    let mut stalled = Stalled::before_items(&pool).await;
    let shop = Shop::new(pool).await;
    let user = shop.user();
    let release = stalled.release_when_waiting(2);
    let (one, two, ()) = tokio::join!(shop.buy(&user, Some("key")), shop.buy(&user, Some("key")), release);
    check_one_order(&shop, &[one, two]).await.unwrap();
}

#[sqlx::test(migrator = "mini_order::MIGRATOR")]
async fn of_two_different_orders_under_one_key_at_once_one_is_refused(pool: PgPool) {
    let mut stalled = Stalled::before_items(&pool).await;
    let shop = Shop::new(pool).await;
    let user = shop.user();
    let release = stalled.release_when_waiting(2);
    let (one, two, ()) = tokio::join!(
        shop.post(&user, Some("key"), items(&[(PEN, 1)])),
        shop.post(&user, Some("key"), items(&[(INK, 1)])),
        release
    );
    let mut statuses = [one.status, two.status];
    statuses.sort();
    assert_eq!(statuses, [StatusCode::CREATED, StatusCode::UNPROCESSABLE_ENTITY]);
    assert_eq!(shop.count_orders().await, (1, 0));
}

#[sqlx::test(migrator = "mini_order::MIGRATOR")]
async fn when_the_first_twin_dies_half_way_the_second_makes_the_order(pool: PgPool) {
    let mut stalled = Stalled::before_items(&pool).await;
    let shop = Shop::new(pool).await;
    let user = shop.user();
    let kill = async {
        stalled.waiting(2).await;
        stalled.kill_the_stalled().await;
        stalled.release().await;
    };
    let (one, two, ()) = tokio::join!(shop.buy(&user, Some("key")), shop.buy(&user, Some("key")), kill);
    let mut statuses = [one.status, two.status];
    statuses.sort();
    assert_eq!(statuses, [StatusCode::CREATED, StatusCode::SERVICE_UNAVAILABLE]);
    assert_eq!(shop.count_orders().await, (1, 0));
    let repeat = shop.buy(&user, Some("key")).await;
    assert!(repeat.is_replay());
}

/// Begins to write an order of the user under the key, as another instance of the service would, and stands still.
async fn stand_still(transaction: &mut PgTransaction<'_>, user_id: Uuid) {
    sqlx::query(
        "INSERT INTO orders (id, user_id, status, currency, total_amount, idempotency_key)
         VALUES ($1, $2, 'placed', 'EUR', 1, 'key')",
    )
    .bind(Uuid::now_v7())
    .bind(user_id)
    .execute(&mut **transaction)
    .await
    .unwrap();
}

#[sqlx::test(migrator = "mini_order::MIGRATOR")]
async fn a_twin_places_the_order_of_a_first_that_stands_still(pool: PgPool) {
    let shop = Shop::new(pool.clone()).await;
    let (user, user_id) = shop.user_and_id();
    let mut first = PgConnection::connect_with(&pool.connect_options()).await.unwrap();
    let mut transaction = first.begin_with(store::BEGIN).await.unwrap();
    stand_still(&mut transaction, user_id).await;
    let answer = shop.buy(&user, Some("key")).await;
    assert_eq!((answer.status, answer.is_replay()), (StatusCode::CREATED, false), "{answer:?}");
    transaction.commit().await.unwrap_err();
    assert_eq!(shop.count_orders().await, (1, 0));
}

#[sqlx::test(migrator = "mini_order::MIGRATOR")]
async fn a_twin_gives_up_on_a_first_that_never_ends(pool: PgPool) {
    let shop = Shop::new(pool.clone()).await;
    let (user, user_id) = shop.user_and_id();
    let mut first = PgConnection::connect_with(&pool.connect_options()).await.unwrap();
    let mut transaction = first.begin().await.unwrap();
    stand_still(&mut transaction, user_id).await;
    let answer = tokio::time::timeout(Duration::from_secs(20), shop.buy(&user, Some("key"))).await.unwrap();
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    assert_eq!(answer.headers["retry-after"], "1");

    transaction.rollback().await.unwrap();
    let repeat = shop.buy(&user, Some("key")).await;
    assert_eq!((repeat.status, repeat.is_replay()), (StatusCode::CREATED, false));
}

#[sqlx::test(migrator = "mini_order::MIGRATOR")]
async fn a_database_with_a_stricter_default_isolation_changes_nothing(pool: PgPool) {
    let options = (*pool.connect_options()).clone().options([("default_transaction_isolation", "serializable")]);
    let pool = PgPoolOptions::new().max_connections(5).connect_with(options).await.unwrap();
    let isolation: String = sqlx::query_scalar("SHOW transaction_isolation").fetch_one(&pool).await.unwrap();
    assert_eq!(isolation, "serializable");
    let shop = shop_for_a_race(pool.clone()).await;
    let answers = race(&shop).await;
    check_one_order(&shop, &answers).await.unwrap();
    drop(shop);
    pool.close().await;
}
