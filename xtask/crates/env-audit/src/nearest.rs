//! "Did you mean …": the known name that a mistyped one is closest to.

use strsim::osa_distance;

/// The known name within a third of the text's length in edits (at most three), if one is clearly meant.
pub(crate) fn nearest<'a>(text: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (text.len() / 3).min(3);
    known
        .into_iter()
        .filter(|name| *name != text)
        .map(|name| (osa_distance(text, name), name))
        .filter(|(edits, _)| *edits <= limit)
        .min()
        .map(|(_, name)| name)
}

/// ` (did you mean X?)`, or nothing.
pub(crate) fn hint<'a>(text: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(text, known).map(|name| format!(" (did you mean {name}?)")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_recognised_and_another_word_is_not() {
        let known = ["DATABASE_URL", "PORT", "LOG_LEVEL"];
        assert_eq!(nearest("DATABSE_URL", known), Some("DATABASE_URL"));
        assert_eq!(nearest("DATABASE_ULR", known), Some("DATABASE_URL"));
        assert_eq!(nearest("LOGLEVEL", known), Some("LOG_LEVEL"));
        assert_eq!(nearest("POTR", known), Some("PORT"));
        assert_eq!(nearest("HOST", known), None);
        assert_eq!(nearest("PORT", known), None);
    }
}
