//! Ids in paths, queries and bodies.

use uuid::Uuid;

/// Reads an id in its canonical form only, with hyphens, so that one thing has one URL (RFC 9562 §4). Both cases of the
/// letters are taken, as the RFC demands.
#[must_use]
pub fn parse(text: &str) -> Option<Uuid> {
    let is_canonical = text.len() == uuid::fmt::Hyphenated::LENGTH;
    Uuid::try_parse(text).ok().filter(|_| is_canonical)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn other_forms_of_a_uuid_are_refused() {
        let canonical = "01930000-0000-7000-8000-000000000001";
        assert!(parse(canonical).is_some());
        for refused in [canonical.replace('-', ""), format!("{{{canonical}}}"), format!("urn:uuid:{canonical}")] {
            assert_eq!(parse(&refused), None, "{refused}");
        }
    }

    proptest! {
        #[test]
        fn an_id_has_one_spelling_but_for_case(
            text in "\\PC{0,40}|[0-9a-fA-F-]{36}|[0-9a-fA-F]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
        ) {
            if let Some(id) = parse(&text) {
                prop_assert_eq!(id.to_string(), text.to_ascii_lowercase());
            }
        }
    }
}
