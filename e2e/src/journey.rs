//! The journey: register → log in → list products → create order → list orders, and the ways that must stay closed.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::client::{Client, Step};
use crate::secrets::Secrets;
use crate::token;

/// Walks the whole journey. Each run makes its own users and products, so it can be repeated on one deployment.
pub(crate) fn walk(client: &Client, secrets: &Secrets) -> Result<()> {
    let run = format!("{:x}", SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis());
    client.expect(200, &Step::get("gateway is alive", "/healthz"))?;
    let customer = accounts(client, &run)?;
    closed_ways(client, secrets, &customer)?;
    let product = catalogue(client, secrets, &customer, &run)?;
    let order = orders(client, &customer, &product, &run)?;
    other_customer(client, &order, &run)
}

/// The part of the journey that changes nothing and needs no account.
pub(crate) fn look(client: &Client) -> Result<()> {
    client.expect(200, &Step::get("gateway is alive", "/healthz"))?;
    client.expect(200, &Step::get("gateway would serve", "/readyz"))?;
    client.expect(200, &Step::get("version", "/version"))?;
    let list = client.expect(200, &Step::get("list products", "/products?limit=1"))?;
    ensure!(list["items"].is_array(), "the list of products has no items: {list}");
    for path in ["/users/me", "/orders"] {
        client.expect(401, &Step::get("no token", path))?;
        client.expect(401, &Step::get("a token that is none", path).token("none"))?;
    }
    client.expect(404, &Step::get("a path that leads nowhere", "/nowhere"))?;
    Ok(())
}

pub(crate) fn log_in(client: &Client, name: &str, username: &str, password: &str) -> Result<String> {
    let body =
        client.expect(200, &Step::post(name, "/users/login", json!({ "username": username, "password": password })))?;
    text(&body, "/access_token")
}

fn accounts(client: &Client, run: &str) -> Result<String> {
    let username = format!("customer-{run}");
    let password = format!("correct horse {run}");
    let account = json!({ "username": username, "password": password });
    client.expect(201, &Step::post("register", "/users/register", account.clone()))?;
    client.expect(409, &Step::post("register the same name again", "/users/register", account))?;
    let wrong = json!({ "username": username, "password": "a wrong password" });
    client.expect(401, &Step::post("log in with a wrong password", "/users/login", wrong))?;
    let token = log_in(client, "log in", &username, &password)?;
    let me = client.expect(200, &Step::get("who am I", "/users/me").token(&token))?;
    ensure!(me["username"] == username.as_str(), "`/users/me` answered for another user: {me}");
    Ok(token)
}

fn closed_ways(client: &Client, secrets: &Secrets, token: &str) -> Result<()> {
    let forged = token::forged(token).context("the token's claims are readable")?;
    let expired = token::expired(token, &secrets.signing_key).context("the token says when it expires")?;
    for path in ["/users/me", "/orders"] {
        client.expect(401, &Step::get("no token", path))?;
        client.expect(401, &Step::get("forged token", path).token(&forged))?;
        client.expect(401, &Step::get("expired token", path).token(&expired))?;
    }
    Ok(())
}

fn catalogue(client: &Client, secrets: &Secrets, customer: &str, run: &str) -> Result<String> {
    let product = json!({
        "name": format!("Tea {run}"),
        "description": "Green, loose leaf, 100 g",
        "price": { "amount": 1250, "currency": "EUR" },
    });
    client.expect(403, &Step::post("create a product as a customer", "/products", product.clone()).token(customer))?;
    let admin = log_in(client, "log in as administrator", &secrets.admin_username, &secrets.admin_password)?;
    let nameless = json!({ "name": "", "description": "", "price": { "amount": -1, "currency": "EUR" } });
    client.expect(422, &Step::post("create a product that is none", "/products", nameless).token(&admin))?;
    let created = client.expect(201, &Step::post("create a product", "/products", product).token(&admin))?;
    let id = text(&created, "/id")?;
    let list = client.expect(200, &Step::get("list products", "/products?limit=1"))?;
    ensure!(
        list["items"].as_array().is_some_and(|items| items.len() == 1),
        "a page of one product has another size: {list}"
    );
    let shown = client.expect(200, &Step::get("show the product", &format!("/products/{id}")))?;
    ensure!(shown["price"] == json!({ "amount": 1250, "currency": "EUR" }), "the price is not what was set: {shown}");
    Ok(id)
}

fn orders(client: &Client, customer: &str, product: &str, run: &str) -> Result<String> {
    let wanted = json!({ "items": [{ "product_id": product, "quantity": 2 }] });
    let key = format!("journey-{run}");
    let order = |name, body: &Value| -> Step<'_> {
        Step::post(name, "/orders", body.clone()).token(customer).idempotency_key(&key)
    };
    let created = client.expect(201, &order("create an order", &wanted))?;
    let again = client.expect(201, &order("create it again with the same key", &wanted))?;
    ensure!(created == again, "the same idempotency key gave another order: {created} and {again}");
    let other = json!({ "items": [{ "product_id": product, "quantity": 3 }] });
    client.expect(422, &order("another order with the same key", &other))?;
    ensure!(created["total"] == json!({ "amount": 2500, "currency": "EUR" }), "the total is wrong: {created}");
    let unknown = json!({ "items": [{ "product_id": "00000000-0000-7000-8000-000000000000", "quantity": 1 }] });
    client.expect(404, &Step::post("order an unknown product", "/orders", unknown).token(customer))?;
    client.expect(422, &Step::post("order nothing", "/orders", json!({ "items": [] })).token(customer))?;
    let id = text(&created, "/id")?;
    let list = client.expect(200, &Step::get("list orders", "/orders").token(customer))?;
    let ids: Vec<_> = list["items"].as_array().into_iter().flatten().map(|order| &order["id"]).collect();
    ensure!(ids == [&json!(id)], "the list of orders is not the one order: {list}");
    Ok(id)
}

fn other_customer(client: &Client, order: &str, run: &str) -> Result<()> {
    let (username, password) = (format!("other-{run}"), format!("battery staple {run}"));
    let account = json!({ "username": username, "password": password });
    client.expect(201, &Step::post("register another customer", "/users/register", account))?;
    let other = log_in(client, "log in as the other", &username, &password)?;
    client.expect(404, &Step::get("see someone else's order", &format!("/orders/{order}")).token(&other))?;
    Ok(())
}

pub(crate) fn text(body: &Value, pointer: &str) -> Result<String> {
    let found = body.pointer(pointer).and_then(Value::as_str).map(ToOwned::to_owned);
    found.with_context(|| format!("the answer has no text at {pointer}"))
}
