//! The limit on how often one client may ask.
//!
//! Each client has a bucket of tokens (GCRA, by the governor crate). The buckets lie in a store of fixed size: when it is
//! full, the bucket that was used least recently makes room. A client whose bucket is dropped starts with a full one, so
//! whoever commands more addresses than the store holds is not limited by it; against those only the limit on
//! connections helps.

use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::{Mutex, PoisonError};

use governor::clock::{Clock, MonotonicClock};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::{Quota, RateLimiter};
use lru::LruCache;
use mini_kit::client::Client;

/// Limits requests for each client; shared by all threads.
pub struct ClientLimiter<C: Clock = MonotonicClock>(RateLimiter<Client, Buckets, C, NoOpMiddleware<C::Instant>>);

impl<C: Clock> std::fmt::Debug for ClientLimiter<C> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("ClientLimiter")
    }
}

impl ClientLimiter {
    /// A limiter that lets `burst` requests through at once and then `per_second` in a second, and remembers at most
    /// `max_clients` clients.
    pub fn new(per_second: NonZeroU32, burst: NonZeroU32, max_clients: NonZeroUsize) -> Self {
        Self::with_clock(per_second, burst, max_clients, MonotonicClock)
    }
}

impl<C: Clock> ClientLimiter<C> {
    fn with_clock(per_second: NonZeroU32, burst: NonZeroU32, max_clients: NonZeroUsize, clock: C) -> Self {
        let quota = Quota::per_second(per_second).allow_burst(burst);
        Self(RateLimiter::new(quota, Buckets::new(max_clients), clock))
    }

    /// Takes a token of the client at this address.
    ///
    /// # Errors
    /// The time in whole seconds, at least one, after which there will be a token again.
    pub fn check(&self, address: IpAddr) -> Result<(), u64> {
        self.0.check_key(&Client::at(address)).map_err(|refusal| {
            let wait = refusal.wait_time_from(self.0.clock().now());
            wait.as_secs() + u64::from(wait.subsec_nanos() > 0 || wait.is_zero())
        })
    }
}

struct Buckets(Mutex<LruCache<Client, Nanos>>);

impl Buckets {
    fn new(max_clients: NonZeroUsize) -> Self {
        // Unbounded as to its first allocation, so that an idle gateway does not pay for clients it has not seen.
        let mut cache = LruCache::unbounded();
        cache.resize(max_clients);
        Self(Mutex::new(cache))
    }
}

impl StateStore for Buckets {
    type Key = Client;

    fn measure_and_replace<T, F, E>(&self, client: &Client, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        // A panic while the lock was held cannot have left a bucket half-written, so poison means nothing here.
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(level) = buckets.get_mut(client) {
            let (outcome, new_level) = measure(Some(*level))?;
            *level = new_level;
            return Ok(outcome);
        }
        let (outcome, level) = measure(None)?;
        buckets.put(*client, level);
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use governor::clock::FakeRelativeClock;

    use super::*;

    fn limiter(
        per_second: u32,
        burst: u32,
        max_clients: usize,
    ) -> (ClientLimiter<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        let limiter = ClientLimiter::with_clock(
            per_second.try_into().unwrap(),
            burst.try_into().unwrap(),
            max_clients.try_into().unwrap(),
            clock.clone(),
        );
        (limiter, clock)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let (limiter, clock) = limiter(2, 3, 10);
        let client = address("192.0.2.1");
        assert!((0..3).all(|_| limiter.check(client).is_ok()));
        assert_eq!(limiter.check(client), Err(1));
        assert!(limiter.check(address("192.0.2.2")).is_ok());
        clock.advance(Duration::from_millis(500));
        assert!(limiter.check(client).is_ok());
        assert!(limiter.check(client).is_err());
        clock.advance(Duration::from_secs(60));
        assert_eq!((0..10).filter(|_| limiter.check(client).is_ok()).count(), 3);
    }

    #[test]
    fn an_ipv6_client_is_its_first_64_bits_and_a_mapped_address_its_ipv4() {
        let (limiter, _) = limiter(1, 1, 10);
        assert!(limiter.check(address("2001:db8:0:1::1")).is_ok());
        assert!(limiter.check(address("2001:db8:0:1:ffff::2")).is_err());
        assert!(limiter.check(address("2001:db8:0:2::1")).is_ok());
        assert!(limiter.check(address("192.0.2.1")).is_ok());
        assert!(limiter.check(address("::ffff:192.0.2.1")).is_err());
        assert!(limiter.check(address("::c000:201")).is_ok());
    }

    #[test]
    fn the_store_never_holds_more_clients_than_it_may() {
        let (limiter, _) = limiter(1, 1, 100);
        let regular = address("192.0.2.1");
        assert!(limiter.check(regular).is_ok());
        for index in 0..10_000_u32 {
            assert!(limiter.check(IpAddr::V4(index.into())).is_ok());
            // Who keeps asking keeps its place, so a flood of strangers does not give it a new bucket.
            assert!(limiter.check(regular).is_err());
        }
        let buckets = limiter.0.into_state_store().0.into_inner().unwrap();
        assert_eq!(buckets.len(), 100);
    }
}
