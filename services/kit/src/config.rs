//! Loading a contract from an environment: all faults at once, by name, never with a value.

mod file;

use std::ffi::OsString;
use std::fmt;
use std::time::Duration;

use crate::contract::{Contract, Declaration, Loader, Parsed, Presence, Reason, Values, Variable};

/// Characters without width that are no white space: the byte order mark, which some editors begin files with, and its like; those that
/// turn the direction of writing; tags. The joiners are part of what people write, in Persian and in emoji.
fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{61c}' | '\u{feff}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
    ) || matches!(character, '\u{2060}'..='\u{206f}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Where values come from: the process environment in a service, a map in a test.
pub type Source<'a> = dyn Fn(&str) -> Option<OsString> + 'a;

/// Whether a variable is absent or wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Required, and unset or blank.
    Missing,
    /// Set, but not a value of its type.
    Malformed,
}

/// What is wrong with one variable.
#[derive(Debug)]
pub struct Fault {
    /// The variable.
    pub variable: Variable,
    /// Whether it is absent or wrong.
    pub kind: FaultKind,
    /// What to put right; it never repeats the value.
    pub reason: Reason,
}

/// Everything that is wrong with an environment. Its display form is the message for the person who starts the service.
#[derive(Debug)]
pub struct Faults(pub Vec<Fault>);

impl Faults {
    /// The names of all variables with a fault.
    #[must_use]
    pub fn all_names(&self) -> Vec<&'static str> {
        self.0.iter().map(|fault| fault.variable.name).collect()
    }

    /// The names of the variables with a fault of this kind.
    #[must_use]
    pub fn names(&self, kind: FaultKind) -> Vec<&'static str> {
        self.0.iter().filter(|fault| fault.kind == kind).map(|fault| fault.variable.name).collect()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problems = if self.0.len() == 1 { "problem" } else { "problems" };
        write!(out, "the environment does not meet the contract ({} {problems}):", self.0.len())?;
        for Fault { variable, kind, reason } in &self.0 {
            let word = match kind {
                FaultKind::Missing => "missing",
                FaultKind::Malformed => "malformed",
            };
            let Variable { name, kind, description, .. } = variable;
            write!(out, "\n  {name} is {word}: {reason}\n      {kind}: {description}")?;
        }
        write!(out, "\nthe subcommand `env --format markdown` prints every variable")
    }
}

impl std::error::Error for Faults {}

/// Loads one part of a configuration by itself: the healthcheck needs no more than the address, and a test no more than
/// the defaults, which an empty source gives.
///
/// # Errors
/// Like [`Contract::load`].
pub fn load<C>(declare: fn(&mut Contract) -> Loader<C>, source: &Source<'_>) -> Result<C, Faults> {
    let mut contract = Contract::default();
    let loader = declare(&mut contract);
    contract.load(source).map(|mut values| loader(&mut values))
}

impl Contract {
    /// Reads every declared variable from `source`.
    ///
    /// # Errors
    /// All variables that are missing or malformed, in the order of the contract.
    pub fn load(&self, source: &Source<'_>) -> Result<Values, Faults> {
        let mut faults = Vec::new();
        let mut slots = Vec::with_capacity(self.declarations.len());
        let mut is_set = Vec::with_capacity(self.declarations.len());
        for declaration in &self.declarations {
            let text = read(&declaration.variable, source);
            is_set.push(!matches!(text, Ok(None)));
            let parsed = text.and_then(|text| parse(declaration, text.as_deref()));
            slots.push(parsed.unwrap_or_else(|(kind, reason)| {
                faults.push(Fault { variable: declaration.variable, kind, reason });
                None
            }));
        }
        for &(first, second) in &self.together {
            if is_set[first] != is_set[second] {
                let (set, unset) = if is_set[first] { (first, second) } else { (second, first) };
                let reason = format!("it must be set because {} is", self.declarations[set].variable.name).into();
                let variable = self.declarations[unset].variable;
                faults.push(Fault { variable, kind: FaultKind::Missing, reason });
            }
        }
        faults.extend(self.shorter.iter().filter_map(|&(index, than)| self.too_long(&slots, index, than)));
        if faults.is_empty() { Ok(Values { slots }) } else { Err(Faults(faults)) }
    }

    /// The fault of a time that is not shorter than that of the variable `than`. A time that has a fault already has no
    /// value here, and gets no second one.
    fn too_long(&self, slots: &[Parsed], index: usize, than: &str) -> Option<Fault> {
        let time = |index: usize| slots.get(index)?.as_ref()?.downcast_ref::<Duration>().copied();
        let limit = time(self.variables().position(|variable| variable.name == than)?)?;
        (time(index)? >= limit).then(|| Fault {
            variable: self.declarations[index].variable,
            kind: FaultKind::Malformed,
            reason: format!("it must be shorter than {than}").into(),
        })
    }
}

type ReadFault = (FaultKind, Reason);

fn parse(declaration: &Declaration, text: Option<&str>) -> Result<Parsed, ReadFault> {
    let text = match (text, declaration.variable.presence) {
        (None, Presence::Required) => return Err((FaultKind::Missing, "it is unset or blank".into())),
        (None, Presence::Default(default)) => Some(default),
        (text, _) => text,
    };
    (declaration.parse)(text).map_err(|reason| (FaultKind::Malformed, reason))
}

/// The text of a variable, from itself or from the file that its file variant names. Blank counts as unset: `KEY=` in
/// an env file and `KEY=${UNSET}` mean that nobody chose a value.
fn read(variable: &Variable, source: &Source<'_>) -> Result<Option<String>, ReadFault> {
    let malformed = |reason: Reason| (FaultKind::Malformed, reason);
    let direct = text_of(variable.name, source).map_err(malformed)?;
    let Some(file_variant) = variable.file_variant() else { return Ok(direct) };
    let path = text_of(&file_variant, source).map_err(malformed)?;
    match (direct, path) {
        (Some(_), Some(_)) => Err(malformed(format!("{} and {file_variant} are both set", variable.name).into())),
        (Some(text), None) => Ok(Some(text)),
        (None, None) => Ok(None),
        (None, Some(path)) => match file::read(path.as_ref()).map(not_blank).and_then(clean) {
            Ok(text) => Ok(text),
            Err(reason) => Err(malformed(format!("the file that {file_variant} names {reason}").into())),
        },
    }
}

fn text_of(name: &str, source: &Source<'_>) -> Result<Option<String>, Reason> {
    match source(name).map(OsString::into_string) {
        None => Ok(None),
        Some(Ok(text)) => clean(not_blank(text)).map_err(|reason| format!("{name} {reason}").into()),
        Some(Err(_)) => Err(format!("{name} is not valid UTF-8").into()),
    }
}

/// Refuses what nobody means to be part of a value and nobody sees: editors, `echo` and copying from documents add it, and
/// a password with a blank at its end is another password.
fn clean(text: Option<String>) -> Result<Option<String>, Reason> {
    let Some(text) = text else { return Ok(None) };
    if text.contains(is_invisible) {
        Err("contains a byte order mark or another invisible character".into())
    } else if text.contains(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']) {
        Err("has more than one line".into())
    } else if text.trim() != text {
        Err("begins or ends with white space".into())
    } else if text.contains(char::is_control) {
        Err("contains a control character".into())
    } else {
        Ok(Some(text))
    }
}

fn not_blank(text: String) -> Option<String> {
    (!text.trim().is_empty()).then_some(text)
}
