//! What everybody else notices of an attack: how long their requests take while it lasts, beside how long they took before.

use std::collections::BTreeSet;

use super::{Broken, Record, p99};

/// A round in which fewer were answered shows nothing.
const LEAST_ANSWERS: usize = 20;

/// From when until when, in milliseconds since 1970.
pub(in crate::faults) type Span = (u64, u64);

/// The p99 of one kind of request.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::faults) struct Noticed {
    pub(in crate::faults) kind: String,
    /// Before the attack; none where that was not measured.
    pub(in crate::faults) before_ms: Option<u64>,
    /// In each round of it; none for one with too few answers.
    pub(in crate::faults) rounds_ms: Vec<Option<u64>>,
}

/// By kind of request, by when they ended.
pub(in crate::faults) fn noticed(records: &[Record], before: Option<Span>, rounds: &[Span]) -> Vec<Noticed> {
    let kinds: BTreeSet<_> = records.iter().map(|record| record.kind.clone()).collect();
    let of = |kind: &String| {
        let in_span = |(since, until): Span| {
            let of_kind = records.iter().filter(|record| record.kind == *kind);
            let ended: Vec<_> = of_kind.filter(|record| (since..until).contains(&record.ended_unix_ms)).collect();
            if ended.len() < LEAST_ANSWERS { None } else { p99(ended, std::slice::from_ref(kind)) }
        };
        let rounds_ms = rounds.iter().map(|round| in_span(*round)).collect();
        Noticed { kind: kind.clone(), before_ms: before.and_then(in_span), rounds_ms }
    };
    kinds.iter().map(of).collect()
}

impl Noticed {
    /// The quietest round counts: whatever else the machine does only ever makes answers slower.
    fn quietest_ms(&self) -> Option<u64> {
        self.rounds_ms.iter().flatten().min().copied()
    }

    /// Whether the machine alone, without the attack, is slower than the promise.
    pub(in crate::faults) fn is_busy(&self, below_ms: u64) -> bool {
        self.before_ms.is_some_and(|before| before >= below_ms) && self.quietest_ms().is_none_or(|ms| ms >= below_ms)
    }

    /// The promise, if it was not kept.
    pub(in crate::faults) fn broken(&self, below_ms: u64) -> Option<Broken> {
        if self.is_busy(below_ms) || self.quietest_ms().is_some_and(|ms| ms < below_ms) {
            return None;
        }
        Some(("held-up", format!("{}; the promise is less than {below_ms} ms", self.text())))
    }

    /// For people.
    pub(in crate::faults) fn text(&self) -> String {
        let shown = |ms: Option<u64>| ms.map_or_else(|| "too few answers".to_owned(), |ms| format!("{ms} ms"));
        let rounds: Vec<_> = self.rounds_ms.iter().map(|ms| shown(*ms)).collect();
        let (kind, before) = (&self.kind, shown(self.before_ms));
        format!("p99 of `{kind}` {before} before the attack, {} in its rounds", rounds.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many requests as a round needs, one every millisecond from `since` on.
    fn records(kind: &str, since: u64, ms: u64) -> Vec<Record> {
        let record = |n| Record {
            kind: kind.to_owned(),
            key: None,
            ended_unix_ms: since + n,
            ms,
            status: 200,
            problem: false,
            retry_after_seconds: None,
            id: None,
        };
        (0..LEAST_ANSWERS as u64).map(record).collect()
    }

    const QUIET: Span = (0, 1000);
    const ROUNDS: [Span; 2] = [(1000, 2000), (2000, 3000)];

    fn only(records: &[Vec<Record>]) -> Noticed {
        noticed(&records.concat(), Some(QUIET), &ROUNDS).remove(0)
    }

    #[test]
    fn whoever_is_held_up_in_every_round_breaks_the_promise() {
        let quiet = records("list", 0, 5);
        let slow = only(&[quiet.clone(), records("list", 1000, 100), records("list", 2000, 300)]);
        assert_eq!((slow.before_ms, slow.rounds_ms.as_slice()), (Some(5), &[Some(100), Some(300)][..]));
        assert_eq!(slow.broken(100).unwrap().0, "held-up");
        assert_eq!(slow.broken(101), None);
        let noisy = only(&[quiet.clone(), records("list", 1000, 100), records("list", 2000, 99)]);
        assert_eq!(noisy.broken(100), None);
        assert_eq!(only(&[quiet]).broken(100).unwrap().0, "held-up", "nobody was answered");
    }

    #[test]
    fn each_kind_is_judged_by_itself() {
        let all =
            [records("list", 0, 5), records("list", 1000, 5), records("probe", 0, 5), records("probe", 1000, 500)];
        let broken: Vec<_> =
            noticed(&all.concat(), Some(QUIET), &ROUNDS).into_iter().filter(|one| one.broken(100).is_some()).collect();
        assert_eq!(broken.iter().map(|one| one.kind.as_str()).collect::<Vec<_>>(), ["probe"]);
    }

    #[test]
    fn a_machine_that_is_slower_by_itself_proves_nothing() {
        let busy = only(&[records("list", 0, 150), records("list", 1000, 200)]);
        assert!(busy.is_busy(100) && busy.broken(100).is_none());
        let fine = only(&[records("list", 0, 150), records("list", 1000, 50)]);
        assert!(!fine.is_busy(100) && fine.broken(100).is_none());
    }
}
