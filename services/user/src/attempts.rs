//! How often somebody may be wrong about a password.
//!
//! Failed log-ins are counted by account and by client, and both counts run down evenly over time. They are kept in memory,
//! in stores of fixed size, where the entry that was used least recently makes room. An attempt is counted before its
//! password is looked at and forgotten again when the password is right, so attempts at the same time do not get past.

use std::hash::{BuildHasher as _, RandomState};
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;
use mini_kit::client::Client;

/// What is tolerated.
#[derive(Clone, Copy, Debug)]
pub struct AttemptLimits {
    /// `LOGIN_FAILURES_PER_ACCOUNT`, whoever tries.
    pub per_account: u32,
    /// `LOGIN_FAILURES_PER_CLIENT`, whatever the account.
    pub per_client: u32,
    /// `LOGIN_FAILURE_WINDOW`: the time in which a full count has run down to nothing.
    pub window: Duration,
    /// `LOGIN_MAX_REMEMBERED`: the most accounts, and the most clients, that are remembered.
    pub max_remembered: NonZeroUsize,
}

/// The counts.
pub(crate) struct Attempts {
    accounts: Counts<u64>,
    clients: Counts<Client>,
    /// Accounts are remembered by a hash with a key of this process: names of all lengths take the same memory, and nobody
    /// can choose one that collides with another.
    hasher: RandomState,
}

/// One attempt, which counts as a failure unless it is taken back.
#[must_use]
pub(crate) struct Attempt<'a> {
    attempts: &'a Attempts,
    account: u64,
    client: Client,
}

/// The time after which another attempt will be let through, in whole seconds, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RetryAfter(pub(crate) u64);

impl Attempts {
    pub(crate) fn new(limits: AttemptLimits) -> Self {
        let AttemptLimits { per_account, per_client, window, max_remembered } = limits;
        Self {
            accounts: Counts::new(per_account, window, max_remembered),
            clients: Counts::new(per_client, window, max_remembered),
            hasher: RandomState::new(),
        }
    }

    /// Counts an attempt for an account, whether or not there is one of that name.
    pub(crate) fn begin(&self, account: &str, client: Client) -> Result<Attempt<'_>, RetryAfter> {
        self.begin_at(account, client, Instant::now())
    }

    fn begin_at(&self, account: &str, client: Client, now: Instant) -> Result<Attempt<'_>, RetryAfter> {
        let account = self.hasher.hash_one(account);
        // The client first: what it may not do must not count against the account.
        self.clients.add(client, now)?;
        if let Err(refusal) = self.accounts.add(account, now) {
            self.clients.take_back(&client);
            return Err(refusal);
        }
        Ok(Attempt { attempts: self, account, client })
    }
}

impl Attempt<'_> {
    /// No failure: the password was right, or nobody looked at it.
    pub(crate) fn take_back(self) {
        self.attempts.accounts.take_back(&self.account);
        self.attempts.clients.take_back(&self.client);
    }
}

/// Counts that run down: a leaky bucket for each key.
struct Counts<K> {
    limit: f64,
    per_second: f64,
    levels: Mutex<LruCache<K, Level>>,
}

#[derive(Clone, Copy)]
struct Level {
    count: f64,
    at: Instant,
}

impl<K: std::hash::Hash + Eq> Counts<K> {
    fn new(limit: u32, window: Duration, max_remembered: NonZeroUsize) -> Self {
        // Unbounded as to its first allocation, so that an idle service does not pay for what it has not seen.
        let mut levels = LruCache::unbounded();
        levels.resize(max_remembered);
        let limit = f64::from(limit);
        Self { limit, per_second: limit / window.as_secs_f64(), levels: Mutex::new(levels) }
    }

    fn add(&self, key: K, now: Instant) -> Result<(), RetryAfter> {
        let mut levels = self.levels();
        let level = levels.get_or_insert_mut(key, || Level { count: 0.0, at: now });
        let passed = now.saturating_duration_since(level.at).as_secs_f64();
        *level = Level { count: (level.count - passed * self.per_second).max(0.0), at: now };
        let excess = level.count + 1.0 - self.limit;
        if excess > 0.0 {
            let wait = Duration::from_secs_f64(excess / self.per_second);
            return Err(RetryAfter(wait.as_secs() + 1));
        }
        level.count += 1.0;
        Ok(())
    }

    fn take_back(&self, key: &K) {
        if let Some(level) = self.levels().peek_mut(key) {
            level.count = (level.count - 1.0).max(0.0);
        }
    }

    /// A panic while the lock was held cannot have left a count half-written, so poison means nothing here.
    fn levels(&self) -> std::sync::MutexGuard<'_, LruCache<K, Level>> {
        self.levels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempts(per_account: u32, per_client: u32) -> Attempts {
        let max_remembered = NonZeroUsize::new(100).unwrap();
        Attempts::new(AttemptLimits { per_account, per_client, window: Duration::from_secs(60), max_remembered })
    }

    fn client(number: u8) -> Client {
        Client::at([192, 0, 2, number].into())
    }

    #[test]
    fn failures_count_and_run_down_evenly() {
        let (attempts, begin) = (attempts(100, 6), Instant::now());
        let fails = |name: &str, after: u64| {
            attempts.begin_at(name, client(1), begin + Duration::from_secs(after)).map(drop).map_err(|wait| wait.0)
        };
        for number in 0..6 {
            assert_eq!(fails(&format!("account-{number}"), 0), Ok(()));
        }
        // Six in a minute are one in ten seconds.
        assert_eq!(fails("alice", 0), Err(11));
        assert_eq!(fails("alice", 11), Ok(()));
        assert!(fails("alice", 11).is_err());
        assert_eq!(fails("alice", 500), Ok(()));
    }

    #[test]
    fn one_client_cannot_use_up_what_an_account_may_take() {
        let attempts = attempts(10, 4);
        let refused = (0..1000).filter(|_| attempts.begin("alice", client(1)).is_err()).count();
        assert_eq!(refused, 996);
        assert!(attempts.begin("alice", client(2)).is_ok(), "another client is not concerned");
        assert!(attempts.begin("bob", client(1)).is_err(), "whatever the account");
        for number in 3..20 {
            let _ = attempts.begin("alice", client(number)).map(drop);
        }
        assert!(attempts.begin("alice", client(200)).is_err(), "all clients together are limited as well");
        assert!(attempts.begin("bob", client(200)).is_ok());
    }

    #[test]
    fn a_success_does_not_count() {
        let attempts = attempts(2, 2);
        for _ in 0..100 {
            attempts.begin("alice", client(1)).ok().unwrap().take_back();
        }
        let _both =
            (attempts.begin("alice", client(1)).ok().unwrap(), attempts.begin("alice", client(1)).ok().unwrap());
        assert!(attempts.begin("alice", client(1)).is_err(), "attempts under way count");
    }

    #[test]
    fn no_more_is_remembered_than_may_be() {
        let attempts = attempts(5, 1_000_000);
        for number in 0..10_000 {
            let _ = attempts.begin(&format!("name-{number}"), client(1)).map(drop);
        }
        assert_eq!((attempts.accounts.levels().len(), attempts.clients.levels().len()), (100, 1));
    }
}
