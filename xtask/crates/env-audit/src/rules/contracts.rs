//! The contracts among themselves: a name means the same in every service.

use crate::contract::{Kind, Variable};
use crate::view::{About, Findings, View};
use xtask_outcome::Place;

pub(super) fn check(view: &View<'_>, findings: &mut Findings) {
    let mut known: Vec<(&str, &Variable)> = Vec::new();
    for image in &view.places.images {
        let place = Place::new(format!("contract of {}", image.service));
        for variable in &image.contract.variables {
            let about = About { place: &place, service: &image.service, variable: &variable.name };
            let name = &variable.name;
            if let Some(default) = &variable.default
                && let Err(why) = variable.value_type.check(default, variable.secret)
            {
                let message = format!("the default of {name} {why} ({})", variable.value_type);
                findings.add("malformed-value", &about, message, "correct the default in the service's settings");
            }
            if variable.secret && variable.default.is_some() {
                let message = format!("{name} is a secret and has a default");
                findings.add("secret-literal", &about, message, "make it required or optional");
            }
            if variable.kind != Kind::Optional && variable.description.trim().is_empty() {
                let message = format!("{name} has no description");
                findings.add("undocumented-variable", &about, message, "describe it where it is declared");
            }
            match known.iter().find(|(_, earlier)| earlier.name == *name) {
                None => known.push((&image.service, variable)),
                Some((service, earlier)) => compare(findings, &about, variable, service, earlier),
            }
        }
    }
}

fn compare(findings: &mut Findings, about: &About<'_>, variable: &Variable, other: &str, earlier: &Variable) {
    let name = &variable.name;
    if (&variable.value_type, variable.secret) != (&earlier.value_type, earlier.secret) {
        let message = format!("{name} has another type here than in {other}, or is a secret in one of them alone");
        findings.add("different-type", about, message, "give it one type, or two names");
    }
    // A default in one service and none in another is a choice; two defaults for one name are a trap.
    if let (Some(here), Some(there)) = (&variable.default, &earlier.default)
        && here != there
    {
        let message = format!("{name} is `{here}` by default here and `{there}` in {other}");
        findings.add("different-default", about, message, "give it one default, or two names");
    }
}
