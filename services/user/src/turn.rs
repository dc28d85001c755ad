//! Whose password is hashed next: each client has one at a time, so that nobody waits for all that another one sends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mini_kit::client::Client;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The clients that wait. It holds no more entries than there are requests under way.
#[derive(Clone)]
pub(crate) struct Turns {
    lines: Arc<Mutex<HashMap<Client, Line>>>,
    max_waiting: usize,
}

struct Line {
    /// Those who wait and the one whose turn it is.
    length: usize,
    turn: Arc<Semaphore>,
}

/// The turn of one client, until it is dropped.
pub(crate) struct Turn {
    _permit: OwnedSemaphorePermit,
    _place: Place,
}

struct Place {
    turns: Turns,
    client: Client,
}

impl Turns {
    /// With at most `max_waiting` requests of one client in the line.
    pub(crate) fn new(max_waiting: usize) -> Self {
        Self { lines: Arc::default(), max_waiting }
    }

    /// Waits for the client's turn; none when too many of its requests wait already.
    pub(crate) async fn wait(&self, client: Client) -> Option<Turn> {
        let (place, turn) = self.line_up(client)?;
        let permit = turn.acquire_owned().await.expect("the semaphore is never closed");
        Some(Turn { _permit: permit, _place: place })
    }

    fn line_up(&self, client: Client) -> Option<(Place, Arc<Semaphore>)> {
        let mut lines = self.lines();
        let line = lines.entry(client).or_insert_with(|| Line { length: 0, turn: Arc::new(Semaphore::new(1)) });
        if line.length > self.max_waiting {
            return None;
        }
        line.length += 1;
        Some((Place { turns: self.clone(), client }, Arc::clone(&line.turn)))
    }

    /// A panic while the lock was held cannot have left a line half-changed, so poison means nothing here.
    fn lines(&self) -> MutexGuard<'_, HashMap<Client, Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut lines = self.turns.lines();
        if let Some(line) = lines.get_mut(&self.client) {
            line.length -= 1;
            if line.length == 0 {
                lines.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn a_client_has_one_turn_at_a_time_and_a_line_of_limited_length() {
        let turns = Turns::new(2);
        let (one, other) = (Client::at([192, 0, 2, 1].into()), Client::at([192, 0, 2, 2].into()));
        let first = turns.wait(one).now_or_never().unwrap().unwrap();
        let mut second = Box::pin(turns.wait(one));
        let mut third = Box::pin(turns.wait(one));
        assert!(second.as_mut().now_or_never().is_none() && third.as_mut().now_or_never().is_none());
        assert!(turns.wait(one).now_or_never().unwrap().is_none(), "the line is full");
        assert!(turns.wait(other).now_or_never().unwrap().is_some(), "another client is not concerned");
        drop(first);
        let second = second.now_or_never().unwrap();
        assert!(second.is_some() && third.as_mut().now_or_never().is_none());
        drop((second, third));
        assert!(turns.lines().is_empty(), "who has left takes no memory");
    }
}
