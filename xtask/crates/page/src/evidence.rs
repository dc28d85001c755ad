//! What the steps left in the report's evidence, found wherever it lies.

use serde::de::DeserializeOwned;
use serde_json::Value;
use xtask_outcome::Report;

/// A step's evidence lies under the name of the step, a step's step one deeper.
const DEEPEST: usize = 3;

/// The first thing along `path` that reads as a `T`: `["journey", "steps"]` is found in the report of `compose-e2e` and in
/// the one of `verify`, which has it under `compose-e2e`.
pub(crate) fn find<T: DeserializeOwned>(report: &Report, path: &[&str]) -> Option<T> {
    let (first, rest) = path.split_first()?;
    report
        .evidence
        .get(*first)
        .and_then(|value| along(value, rest))
        .or_else(|| report.evidence.values().find_map(|value| below(value, path, DEEPEST)))
}

/// The same in evidence that was read back.
pub(crate) fn below<T: DeserializeOwned>(value: &Value, path: &[&str], depth: usize) -> Option<T> {
    let map = value.as_object().filter(|_| depth > 0)?;
    along(value, path).or_else(|| map.values().find_map(|value| below(value, path, depth - 1)))
}

fn along<T: DeserializeOwned>(value: &Value, path: &[&str]) -> Option<T> {
    let end = path.iter().try_fold(value, |value, key| value.get(key))?;
    T::deserialize(end).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use xtask_outcome::Outcome;

    #[test]
    fn a_step_of_a_step_is_found_and_what_reads_as_something_else_is_not() {
        let mut outcome = Outcome::default();
        outcome.evidence("steps", 7);
        outcome.evidence("compose-e2e", json!({ "journey": { "steps": ["a", "b"] } }));
        let report = Report::running("verify", "").ended(outcome, 1.0);
        assert_eq!(find::<Vec<String>>(&report, &["journey", "steps"]).unwrap(), ["a", "b"]);
        assert_eq!(find::<u8>(&report, &["steps"]), Some(7));
        assert_eq!(find::<Vec<String>>(&report, &["images"]), None);
    }
}
