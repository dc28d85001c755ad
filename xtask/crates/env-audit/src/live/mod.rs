//! The live audit: what an image does with its variables, and what it does without them.
//!
//! What containers did is a fact of the image id and is kept by it; what that means is judged anew every time.

mod judge;
mod observe;
mod plan;

use serde::{Deserialize, Serialize};

pub(crate) use self::judge::judge;
pub use self::observe::{Container, duration, observation, seconds_of_day};
pub(crate) use self::plan::plans;
pub use self::plan::{Made, Plan, Trial};
use crate::places::ImagePlace;

/// One container that was started, and what it was started to show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Case {
    /// Exactly the documented variables: it starts.
    Documented,
    /// The same, and what libraries read set to nonsense: it starts and logs the same.
    Nonsense,
    /// A required variable is not there.
    Missing(String),
    /// A required variable is there and blank.
    Blank(String),
    /// A required variable has a value of another type.
    Malformed(String),
    /// No variable at all: all required ones are named.
    Nothing,
    /// The same, with the nonsense.
    NothingButNonsense,
    /// Every variable of a checkable type has a value of another type: all are named. The number picks the values.
    AllMalformed(usize),
}

/// What a container did. No value of a variable is in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observation {
    /// What the container was started to show.
    pub case: Case,
    /// `None` for one that ran until it was ready.
    pub exit_code: Option<i64>,
    /// From start to end, or to the first passed probe.
    pub seconds: f64,
    /// The variables that it called missing.
    pub named_missing: Vec<String>,
    /// The variables that it called malformed.
    pub named_malformed: Vec<String>,
    /// The variables whose values stood in what it printed.
    pub leaked: Vec<String>,
    /// Its log without times and numbers, each kind of line once.
    pub log: Vec<String>,
}

/// The places that judge and plan share.
fn malformed_of(image: &ImagePlace, number: usize) -> Vec<(String, &'static str)> {
    let malformed = |variable: &crate::contract::Variable| {
        variable.value_type.malformed().get(number).map(|text| (variable.name.clone(), *text))
    };
    image.contract.variables.iter().filter_map(malformed).collect()
}
