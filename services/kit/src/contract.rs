//! The contract of a service: every environment variable that can change its behaviour.
//!
//! Declaring a variable is the only way to obtain the [`Field`] that reads it, and a contract loads exactly what it
//! declares. So a variable that is read but not printed cannot be written, and one that is printed is always checked;
//! a field that nobody takes is an unused binding, which the lints refuse.

mod print;

use std::any::Any;
use std::borrow::Cow;
use std::marker::PhantomData;
use std::time::Duration;

/// Why a text is not a value of its type. It never repeats the text, which may be a secret.
pub type Reason = Cow<'static, str>;

/// A type that a variable can have.
pub trait Value: Sized + 'static {
    /// The name of the type in the printed contract: `string`, `url`, `port`, `integer`, `boolean`, `duration`,
    /// `base64-32` or `enum:a|b`.
    const TYPE: &'static str;
    /// Whether the value must stay out of logs and messages. Secrets may also be given as `NAME_FILE`.
    const SECRET: bool = false;

    /// Reads the value from `text`, which is never blank.
    ///
    /// # Errors
    /// The reason, which must not repeat any part of `text`.
    fn parse(text: &str) -> Result<Self, Reason>;
}

/// What happens when a variable is unset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// The service does not start without it.
    Required,
    /// This text stands in for it.
    Default(&'static str),
    /// The service works without it.
    Optional,
}

/// One variable as the contract prints it.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// The name in the environment.
    pub name: &'static str,
    /// What happens when it is unset.
    pub presence: Presence,
    /// The name of its type; see [`Value::TYPE`].
    pub kind: &'static str,
    /// Whether its value is a secret, so that `NAME_FILE` is accepted as well.
    pub secret: bool,
    /// One sentence for the person who sets it.
    pub description: &'static str,
}

impl Variable {
    /// The name of the variable that holds the path of a file with the value; only secrets have one.
    #[must_use]
    pub fn file_variant(&self) -> Option<String> {
        self.secret.then(|| format!("{}_FILE", self.name))
    }
}

pub(crate) type Parsed = Option<Box<dyn Any>>;

pub(crate) struct Declaration {
    pub(crate) variable: Variable,
    pub(crate) parse: fn(Option<&str>) -> Result<Parsed, Reason>,
}

/// The right to take the value of one declared variable, once.
#[derive(Debug)]
pub struct Field<T> {
    index: usize,
    value: PhantomData<fn() -> T>,
}

/// The values that a contract loaded; see [`Contract::load`].
pub struct Values {
    pub(crate) slots: Vec<Parsed>,
}

impl Values {
    /// Takes the value of a field.
    ///
    /// # Panics
    /// When the field belongs to another contract than these values.
    #[expect(clippy::needless_pass_by_value, reason = "a field is used up, so that no value is taken twice")]
    pub fn take<T: 'static>(&mut self, field: Field<T>) -> T {
        let value = self.slots.get_mut(field.index).and_then(Option::take).and_then(|value| value.downcast::<T>().ok());
        *value.expect("a field is taken from the values of the contract that declared it")
    }
}

/// Turns the loaded values into a service's configuration. It runs only when every variable was good.
pub type Loader<C> = Box<dyn FnOnce(&mut Values) -> C>;

/// The variables of one service, in the order of their declaration.
#[derive(Default)]
pub struct Contract {
    pub(crate) declarations: Vec<Declaration>,
    pub(crate) together: Vec<(usize, usize)>,
    pub(crate) shorter: Vec<(usize, &'static str)>,
}

impl Contract {
    /// Declares a variable without which the service does not start.
    pub fn required<T: Value>(&mut self, name: &'static str, description: &'static str) -> Field<T> {
        self.declare::<T, T>(name, Presence::Required, description, |text| match text {
            Some(text) => Ok(Some(Box::new(T::parse(text)?))),
            None => Ok(None),
        })
    }

    /// Declares a variable with a default. A secret cannot have one: that is refused when the program is compiled.
    pub fn with_default<T: Value>(
        &mut self,
        name: &'static str,
        default: &'static str,
        description: &'static str,
    ) -> Field<T> {
        const { assert!(!T::SECRET, "a secret has no default") };
        self.declare::<T, T>(name, Presence::Default(default), description, |text| match text {
            Some(text) => Ok(Some(Box::new(T::parse(text)?))),
            None => Ok(None),
        })
    }

    /// Declares a variable that may stay unset.
    pub fn optional<T: Value>(&mut self, name: &'static str, description: &'static str) -> Field<Option<T>> {
        self.declare::<T, Option<T>>(name, Presence::Optional, description, |text| {
            Ok(Some(Box::new(text.map(T::parse).transpose()?)))
        })
    }

    /// Demands that two optional variables are set both or not at all.
    pub fn together<A, B>(&mut self, first: &Field<Option<A>>, second: &Field<Option<B>>) {
        self.together.push((first.index, second.index));
    }

    /// Demands that a time is shorter than that of the variable `than`. That one has a name and no field here because it
    /// is mostly declared elsewhere: the time that a service waits for another against that of a whole request.
    pub fn shorter(&mut self, time: &Field<Duration>, than: &'static str) {
        self.shorter.push((time.index, than));
    }

    /// The declared variables, in their order.
    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.declarations.iter().map(|declaration| &declaration.variable)
    }

    /// Every name that the environment of the service may contain: the variables and the file variants of its secrets.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.variables()
            .flat_map(|variable| [Some(variable.name.to_owned()), variable.file_variant()])
            .flatten()
            .collect()
    }

    /// Mistakes in the declarations themselves: names used twice, defaults that are no values of their type, missing
    /// descriptions, a rule about a variable that is not there. Every service holds in a test that there are none.
    #[must_use]
    pub fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        let names = self.names();
        for (index, name) in names.iter().enumerate() {
            if names[..index].contains(name) {
                mistakes.push(format!("{name} is declared twice"));
            }
        }
        for Declaration { variable, parse } in &self.declarations {
            if variable.description.trim().is_empty() {
                mistakes.push(format!("{} has no description", variable.name));
            }
            if let Presence::Default(default) = variable.presence
                && let Err(reason) = parse(Some(default))
            {
                mistakes.push(format!("the default of {} {reason}", variable.name));
            }
        }
        for &(index, than) in &self.shorter {
            if !self.variables().any(|variable| variable.name == than && variable.kind == Duration::TYPE) {
                let name = self.declarations[index].variable.name;
                mistakes.push(format!("{name} is to be shorter than {than}, which is no duration of this contract"));
            }
        }
        mistakes
    }

    fn declare<T: Value, F>(
        &mut self,
        name: &'static str,
        presence: Presence,
        description: &'static str,
        parse: fn(Option<&str>) -> Result<Parsed, Reason>,
    ) -> Field<F> {
        let variable = Variable { name, presence, kind: T::TYPE, secret: T::SECRET, description };
        self.declarations.push(Declaration { variable, parse });
        Field { index: self.declarations.len() - 1, value: PhantomData }
    }
}
