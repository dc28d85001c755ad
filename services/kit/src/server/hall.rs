//! The connections that one listener has, and who has to go when there are too many.
//!
//! Nobody waits for a place. Whoever comes is let in, and the connection that does the least makes room: one without a
//! request, of the client with the most connections, and of those the one that has waited longest; or, where a client with more
//! connections than that does not read, one of those, since otherwise clients that behave would make room for it. Only when every
//! connection is at work are new ones let in to a small annex, where probes are answered and everything else with 503.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::Limits;
use super::door::Entry;
use crate::client::Client;
use crate::metrics::Metrics;

/// How many connections beyond the limit are let in to be told so.
const ANNEX_PLACES: usize = 64;
/// A client that has read nothing for this long may have to make room for another. One that has just come, or has just had its
/// answer, is about to send: it has this long before it makes room for a client that has as many connections.
const IDLE_READER: Duration = Duration::from_millis(250);
/// One in so many connections may wait for a client that does not take its answer. Each of these holds what was read of the answer, a few
/// hundred kilobytes of a large one: a thousand of them would take more memory than the container has.
const STALLED_SHARE: u32 = 16;

/// The connections of one listener.
pub(super) struct Hall {
    limits: Limits,
    metrics: Option<Arc<Metrics>>,
    /// All times of seats are counted from here.
    opened: Instant,
    seats: Mutex<Seats>,
    /// Connections without a request under way.
    waiting: AtomicUsize,
    /// Connections whose clients do not take what is to be written.
    stalled: AtomicUsize,
    /// Connections, and requests still running after their connection closed.
    places: AtomicUsize,
    emptied: Notify,
}

#[derive(Default)]
struct Seats {
    next: u64,
    taken: HashMap<u64, Arc<Seat>>,
    in_annex: usize,
    /// How many connections each client has here.
    clients: HashMap<Client, Arc<AtomicU32>>,
}

/// One connection as the hall sees it.
pub(super) struct Seat {
    hall: Arc<Hall>,
    number: u64,
    client: Option<(Client, Arc<AtomicU32>)>,
    /// Whether this connection is beyond the limit and only there to be told so.
    pub(super) is_in_annex: bool,
    /// Requests whose answers are not finished.
    under_way: AtomicU32,
    has_read: AtomicBool,
    /// Whether bytes of an answer of the service may still have to be written.
    owes: AtomicBool,
    /// Since when it has no request under way.
    waiting_since: AtomicU64,
    /// Since when its client has not taken what is to be written; [`NOT_STALLED`] when it has.
    stalled_since: AtomicU64,
    dismissed: Notify,
}

const NOT_STALLED: u64 = u64::MAX;

/// Counts as a connection until it is dropped.
pub(super) struct Place {
    hall: Arc<Hall>,
    _entry: Entry,
}

/// A request whose answer is not finished, until it is dropped.
pub(super) struct UnderWay(Arc<Seat>);

impl Hall {
    pub(super) fn new(limits: Limits, metrics: Option<Arc<Metrics>>) -> Arc<Self> {
        Arc::new(Self {
            limits,
            metrics,
            opened: Instant::now(),
            seats: Mutex::default(),
            waiting: AtomicUsize::new(0),
            stalled: AtomicUsize::new(0),
            places: AtomicUsize::new(0),
            emptied: Notify::new(),
        })
    }

    /// Gives a new connection its place, at the cost of another one where needed.
    pub(super) fn admit(self: &Arc<Self>, entry: Entry) -> Option<(Arc<Seat>, Place)> {
        let mut seats = self.lock();
        if self.waiting.load(Ordering::Relaxed) >= self.limits.max_idle_connections as usize {
            let longest = waiting(&seats, |_| true);
            self.dismiss(&mut seats, longest, WAITS);
        }
        let is_full = self.places.load(Ordering::Relaxed) >= self.limits.max_connections as usize;
        let is_in_annex = is_full && !self.make_room(&mut seats, &entry);
        let for_another = |seats: &mut Seats| {
            let longest = waiting(seats, |seat| seat.is_in_annex);
            self.dismiss(seats, longest, WAITS)
        };
        if is_in_annex && seats.in_annex >= ANNEX_PLACES && !for_another(&mut seats) {
            self.count("full");
            return None;
        }
        if let Some(metrics) = &self.metrics {
            metrics.opened();
        }
        seats.next += 1;
        seats.in_annex += usize::from(is_in_annex);
        let client = entry.client().map(|client| (client, Arc::clone(seats.clients.entry(client).or_default())));
        if let Some((_, connections)) = &client {
            connections.fetch_add(1, Ordering::Relaxed);
        }
        let seat = Arc::new(Seat {
            hall: Arc::clone(self),
            number: seats.next,
            client,
            is_in_annex,
            under_way: AtomicU32::new(0),
            has_read: AtomicBool::new(false),
            owes: AtomicBool::new(false),
            waiting_since: AtomicU64::new(self.now()),
            stalled_since: AtomicU64::new(NOT_STALLED),
            dismissed: Notify::new(),
        });
        seats.taken.insert(seat.number, Arc::clone(&seat));
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.places.fetch_add(1, Ordering::Relaxed);
        Some((seat, Place { hall: Arc::clone(self), _entry: entry }))
    }

    /// Waits until nobody is there.
    pub(super) async fn empty(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.open() == 0 {
                return;
            }
            emptied.await;
        }
    }

    /// Connections, and requests still running after their connection closed.
    pub(super) fn open(&self) -> usize {
        self.places.load(Ordering::Acquire)
    }

    /// Has a connection make room for a new one of this client. Gives whether there was one.
    fn make_room(&self, seats: &mut Seats, newcomer: &Entry) -> bool {
        let latest = self.now().saturating_sub(nanos(IDLE_READER));
        let known = newcomer.client().and_then(|client| seats.clients.get(&client));
        let connections = 1 + known.map_or(0, |connections| connections.load(Ordering::Relaxed));
        let may_go = |seat: &Seat| {
            let has_waited = seat.waiting_since.load(Ordering::Relaxed) <= latest;
            !seat.is_in_annex && (has_waited || seat.connections_of_client() > connections)
        };
        let (idle, unread) = (waiting(seats, may_go), stalled(seats, latest));
        let of = |seat: &Option<Arc<Seat>>| seat.as_ref().map(|seat| seat.connections_of_client());
        if of(&idle) >= of(&unread) {
            self.dismiss(seats, idle, WAITS)
        } else {
            self.dismiss(seats, unread, "its client did not read for longest")
        }
    }

    /// Has one of the connections whose clients do not read go when there are too many of them: of the client with the most connections,
    /// and of those the one that has waited longest.
    fn bound_stalled(&self) {
        if self.stalled.load(Ordering::Relaxed) > (self.limits.max_connections / STALLED_SHARE).max(1) as usize {
            let mut seats = self.lock();
            let longest = stalled(&seats, self.now());
            self.dismiss(&mut seats, longest, "too many clients did not read, and its client had the most connections");
        }
    }

    fn dismiss(&self, seats: &mut Seats, seat: Option<Arc<Seat>>, reason: &'static str) -> bool {
        let Some(seat) = seat.and_then(|seat| seats.taken.remove(&seat.number)) else { return false };
        seat.forget(self, seats);
        seat.takes_again();
        self.count("made-room");
        tracing::debug!(reason, "a connection made room for another");
        seat.dismissed.notify_one();
        true
    }

    /// Counts a connection that is closed because of a limit.
    pub(super) fn count(&self, reason: &'static str) {
        if let Some(metrics) = &self.metrics {
            metrics.closed(reason);
        }
    }

    fn now(&self) -> u64 {
        nanos(self.opened.elapsed())
    }

    /// A panic while the lock was held cannot have left anything half-changed, so poison means nothing here.
    fn lock(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const WAITS: &str = "it has no request under way";

/// Of the connections without a request that may go: one of the client with the most, and of those the one that has waited longest.
fn waiting(seats: &Seats, may_go: impl Fn(&Seat) -> bool) -> Option<Arc<Seat>> {
    let candidates = seats.taken.values().filter(|seat| !seat.is_busy() && may_go(seat));
    candidates
        .max_by_key(|seat| (seat.connections_of_client(), Reverse(seat.waiting_since.load(Ordering::Relaxed))))
        .cloned()
}

/// The same of those whose client has not read since `latest`.
fn stalled(seats: &Seats, latest: u64) -> Option<Arc<Seat>> {
    let since = |seat: &Seat| seat.stalled_since.load(Ordering::Relaxed);
    let candidates = seats.taken.values().filter(|seat| since(seat) <= latest);
    candidates.max_by_key(|seat| (seat.connections_of_client(), Reverse(since(seat)))).cloned()
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Seat {
    /// Where the hall counts.
    pub(super) fn metrics(&self) -> Option<&Arc<Metrics>> {
        self.hall.metrics.as_ref()
    }

    /// Bytes have arrived.
    pub(super) fn has_read(&self) {
        self.has_read.store(true, Ordering::Relaxed);
    }

    /// Whether bytes have arrived since this was asked last. Without any, the request at hand came with an earlier one.
    pub(super) fn has_read_since(&self) -> bool {
        self.has_read.swap(false, Ordering::Relaxed)
    }

    /// A request has arrived whole as to its head.
    pub(super) fn begin(self: &Arc<Self>) -> UnderWay {
        self.owes.store(true, Ordering::Relaxed);
        if self.under_way.fetch_add(1, Ordering::Relaxed) == 0 {
            self.hall.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        UnderWay(Arc::clone(self))
    }

    /// Whether a request is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) > 0
    }

    /// Whether what is written next belongs to an answer of the service.
    pub(super) fn owes(&self) -> bool {
        self.owes.load(Ordering::Relaxed)
    }

    /// Everything that there was to write has been written.
    pub(super) fn flushed(&self) {
        if !self.is_busy() {
            self.owes.store(false, Ordering::Relaxed);
        }
    }

    /// How long it has had no request under way; none while it has.
    pub(super) fn waiting_since(&self) -> Option<Instant> {
        let since = Duration::from_nanos(self.waiting_since.load(Ordering::Relaxed));
        (!self.is_busy()).then(|| self.hall.opened + since)
    }

    /// Notes since when its client has not taken what is to be written.
    pub(super) fn stalls(&self, since: Instant) {
        let since = nanos(since.saturating_duration_since(self.hall.opened));
        if self.stalled_since.swap(since, Ordering::Relaxed) == NOT_STALLED {
            self.hall.stalled.fetch_add(1, Ordering::Relaxed);
            self.hall.bound_stalled();
        }
    }

    /// Notes that its client takes what is to be written.
    pub(super) fn takes_again(&self) {
        if self.stalled_since.swap(NOT_STALLED, Ordering::Relaxed) != NOT_STALLED {
            self.hall.stalled.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Waits until it has to make room for another connection.
    pub(super) async fn dismissed(&self) {
        self.dismissed.notified().await;
    }

    /// The connection is over.
    pub(super) fn leave(&self) {
        self.takes_again();
        let mut seats = self.hall.lock();
        if let Some(seat) = seats.taken.remove(&self.number) {
            seat.forget(&self.hall, &mut seats);
        }
    }

    /// A client of whom nothing is known counts as one of many.
    fn connections_of_client(&self) -> u32 {
        self.client.as_ref().map_or(1, |(_, connections)| connections.load(Ordering::Relaxed))
    }

    fn forget(&self, hall: &Hall, seats: &mut Seats) {
        if let Some((client, connections)) = &self.client
            && connections.fetch_sub(1, Ordering::Relaxed) == 1
        {
            seats.clients.remove(client);
        }
        seats.in_annex -= usize::from(self.is_in_annex);
        // From now on neither the beginning nor the end of a request on it counts.
        if self.under_way.fetch_add(1, Ordering::Relaxed) == 0 {
            hall.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let seat = &self.0;
        seat.waiting_since.store(seat.hall.now(), Ordering::Relaxed);
        if seat.under_way.fetch_sub(1, Ordering::Relaxed) == 1 {
            seat.hall.waiting.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(metrics) = &self.hall.metrics {
            metrics.ended();
        }
        if self.hall.places.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.hall.emptied.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::door::Door;
    use super::*;

    fn hall(max_connections: u32, max_idle_connections: u32) -> Arc<Hall> {
        let defaults = crate::config::load(super::super::Settings::declare, &|_| None).unwrap().limits;
        Hall::new(Limits { max_connections, max_idle_connections, ..defaults }, None)
    }

    #[test]
    fn the_client_with_the_most_connections_makes_room() {
        let door = Door::limited(100, |_| false);
        let hall = hall(100, 5);
        let enter = |number| hall.admit(door.enter([192, 0, 2, number].into()).unwrap()).unwrap();
        let modest = enter(1);
        let greedy: Vec<_> = (0..50).map(|_| enter(2)).collect();
        assert!(!is_dismissed(&modest.0));
        assert_eq!(greedy.iter().filter(|(seat, _)| !is_dismissed(seat)).count(), 4);
        for (seat, _) in greedy.iter().chain([&modest]) {
            seat.leave();
        }
        assert!(hall.lock().clients.is_empty());
    }

    #[test]
    fn a_client_that_does_not_read_makes_room_before_one_with_fewer_connections_that_waits() {
        let door = Door::limited(100, |_| false);
        let hall = hall(4, 4);
        let enter = |number| hall.admit(door.enter([192, 0, 2, number].into()).unwrap()).unwrap();
        let polite = enter(1);
        let greedy = [enter(2), enter(2), enter(2)];
        let _unread: Vec<_> = greedy.iter().map(|(seat, _)| seat.begin()).collect();
        greedy[1].0.stalls(hall.opened);
        polite.0.waiting_since.store(0, Ordering::Relaxed);
        let newcomer = enter(3);
        assert_eq!(greedy.iter().filter(|(seat, _)| is_dismissed(seat)).count(), 1);
        assert!(!is_dismissed(&polite.0) && !newcomer.0.is_in_annex);
    }

    /// Whatever their number: a thousand answers that nobody takes would not fit into the memory.
    #[test]
    fn only_so_many_connections_wait_for_clients_that_do_not_read() {
        let door = Door::limited(100, |_| false);
        let hall = hall(48, 48);
        let enter = |number| hall.admit(door.enter([192, 0, 2, number].into()).unwrap()).unwrap();
        let modest = enter(1);
        let greedy: Vec<_> = (0..20).map(|_| enter(2)).collect();
        let under_way: Vec<_> = greedy.iter().chain([&modest]).map(|(seat, _)| seat.begin()).collect();
        modest.0.stalls(hall.opened);
        greedy.iter().for_each(|(seat, _)| seat.stalls(hall.opened));
        let left = |seats: &[(Arc<Seat>, Place)]| seats.iter().filter(|(seat, _)| !is_dismissed(seat)).count();
        assert_eq!((left(&greedy), is_dismissed(&modest.0)), (2, false));
        // Who takes again does not count, and neither does who has left.
        modest.0.takes_again();
        let another = enter(3);
        another.0.stalls(Instant::now());
        assert_eq!((left(&greedy), is_dismissed(&another.0)), (2, false));
        drop(under_way);
        for (seat, _) in greedy.iter().chain([&modest, &another]) {
            seat.leave();
        }
        assert_eq!(hall.stalled.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_client_that_has_just_come_makes_room_only_for_one_with_fewer_connections() {
        let door = Door::limited(100, |_| false);
        let hall = hall(2, 9);
        let enter = |number| hall.admit(door.enter([192, 0, 2, number].into()).unwrap()).unwrap();
        let busy = enter(1);
        let _request = busy.0.begin();
        let fresh = enter(2);
        let same = enter(2);
        assert!(same.0.is_in_annex && !is_dismissed(&fresh.0));
        let third = enter(3);
        assert!(!third.0.is_in_annex && is_dismissed(&fresh.0), "it has two, and the newcomer none");
    }

    fn enter(hall: &Arc<Hall>) -> (Arc<Seat>, Place) {
        hall.admit(Door::open().enter([192, 0, 2, 1].into()).unwrap()).unwrap()
    }

    fn is_dismissed(seat: &Seat) -> bool {
        !seat.hall.lock().taken.contains_key(&seat.number)
    }

    #[test]
    fn the_connection_that_waits_longest_makes_room() {
        let hall = hall(10, 2);
        let (first, second) = (enter(&hall), enter(&hall));
        // Its request ends after the second came, so the second has waited longer.
        drop(first.0.begin());
        let third = enter(&hall);
        assert!(is_dismissed(&second.0) && !is_dismissed(&first.0) && !is_dismissed(&third.0));
    }

    #[test]
    fn a_connection_with_a_request_never_makes_room_and_the_next_goes_to_the_annex() {
        let hall = hall(2, 2);
        let (first, second) = (enter(&hall), enter(&hall));
        let _requests = [first.0.begin(), second.0.begin()];
        let third = enter(&hall);
        assert!(third.0.is_in_annex && !is_dismissed(&first.0) && !is_dismissed(&second.0));
        // The annex is small, but whoever only waits there makes room for the next.
        let others: Vec<_> = (0..ANNEX_PLACES).map(|_| enter(&hall)).collect();
        assert!(others.iter().all(|(seat, _)| seat.is_in_annex));
        assert!(is_dismissed(&third.0));
    }

    #[test]
    fn counts_come_out_even_whatever_the_order_of_the_ends() {
        let hall = hall(10, 1);
        let (first, first_place) = enter(&hall);
        let request = first.begin();
        let (second, second_place) = enter(&hall);
        drop(request);
        let (third, third_place) = enter(&hall);
        first.leave();
        drop((first_place, second_place));
        second.leave();
        third.leave();
        drop(third.begin());
        drop(third_place);
        assert_eq!((hall.waiting.load(Ordering::Relaxed), hall.open(), hall.lock().in_annex), (0, 0, 0));
    }
}
