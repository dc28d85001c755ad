//! Counts; some day in its database.

fn main() {
    let database = std::env::var("DATABASE_URL").expect("DATABASE_URL");
    assert!(database.starts_with("postgres://"));
    loop {
        std::thread::park();
    }
}
