//! How many connections one client may have, whichever thread serves them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::client::Client;

/// Refused connections are counted, and reported no more often than this: a line for each would let a client fill the log.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// Counts the connections of each client. All listeners of a service share one.
pub struct Door {
    limit: Option<u32>,
    is_exempt: Box<dyn Fn(IpAddr) -> bool + Send + Sync>,
    clients: Mutex<HashMap<Client, u32>>,
    refused: Mutex<Refused>,
    /// All that were refused, for the metrics.
    refused_in_all: AtomicU64,
}

#[derive(Default)]
struct Refused {
    unreported: u64,
    reported: Option<Instant>,
}

/// The place of one connection; dropping it gives the place back.
pub(super) struct Entry {
    door: Arc<Door>,
    client: Option<Client>,
}

impl Door {
    /// Without a limit by client: for a service whose only client is the gateway.
    #[must_use]
    pub fn open() -> Arc<Self> {
        Self::new(None, |_| true)
    }

    /// With at most `limit` connections for each client. `is_exempt` names the addresses that stand for many clients, such
    /// as those of trusted proxies.
    #[must_use]
    pub fn limited(limit: u32, is_exempt: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> Arc<Self> {
        Self::new(Some(limit), is_exempt)
    }

    fn new(limit: Option<u32>, is_exempt: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            limit,
            is_exempt: Box::new(is_exempt),
            clients: Mutex::default(),
            refused: Mutex::default(),
            refused_in_all: AtomicU64::new(0),
        })
    }

    /// How many connections were refused since the start.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused_in_all.load(Ordering::Relaxed)
    }

    /// Lets a connection in, or refuses it because its client has as many as it may.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Entry> {
        let address = address.to_canonical();
        let Some(limit) = self.limit.filter(|_| !(self.is_exempt)(address)) else {
            return Some(Entry { door: Arc::clone(self), client: None });
        };
        let client = Client::at(address);
        {
            let mut clients = lock(&self.clients);
            let open = clients.entry(client).or_default();
            if *open < limit {
                *open += 1;
                return Some(Entry { door: Arc::clone(self), client: Some(client) });
            }
        }
        self.report(address, limit);
        None
    }

    fn report(&self, address: IpAddr, limit: u32) {
        self.refused_in_all.fetch_add(1, Ordering::Relaxed);
        let mut refused = lock(&self.refused);
        refused.unreported += 1;
        if refused.reported.is_none_or(|reported| reported.elapsed() >= REPORT_EVERY) {
            let count = std::mem::take(&mut refused.unreported);
            refused.reported = Some(Instant::now());
            tracing::warn!(client = %address, count, limit, "connections refused: their client has as many as it may");
        }
    }
}

impl Entry {
    /// Whose connection it is; none when its address stands for many clients, or nobody counts.
    pub(super) fn client(&self) -> Option<Client> {
        self.client
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let Some(client) = self.client else { return };
        let mut clients = lock(&self.door.clients);
        if let Some(open) = clients.get_mut(&client) {
            *open -= 1;
            // Only clients that are there take memory.
            if *open == 0 {
                clients.remove(&client);
            }
        }
    }
}

/// A panic while a lock was held cannot have left a count half-changed, so poison means nothing here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_has_its_own_places_and_gets_them_back() {
        let door = Door::limited(2, |address| address == IpAddr::from([10, 0, 0, 1]));
        let (one, other, proxy) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into(), [10, 0, 0, 1].into());
        let first = door.enter(one);
        let _second = door.enter(one);
        assert!(door.enter(one).is_none() && door.enter(other).is_some());
        let many: Vec<_> = (0..10).map(|_| door.enter(proxy)).collect();
        assert!(many.iter().all(Option::is_some));
        drop(first);
        assert!(door.enter(one).is_some());
        assert_eq!(door.refused(), 1);
    }

    #[test]
    fn a_client_that_has_left_takes_no_memory() {
        let door = Door::limited(2, |_| false);
        drop(door.enter([192, 0, 2, 1].into()));
        assert!(lock(&door.clients).is_empty());
    }
}
