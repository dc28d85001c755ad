//! "Did you mean …": the known name that a mistyped one is closest to.

/// The known name within a third of the text's length in edits (at most three), if one is clearly meant.
pub(crate) fn nearest<'a>(text: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (text.len() / 3).min(3);
    known
        .into_iter()
        .filter(|name| *name != text)
        .map(|name| (distance(text, name), name))
        .filter(|(edits, _)| *edits <= limit)
        .min()
        .map(|(_, name)| name)
}

/// ` (did you mean X?)`, or nothing.
pub(crate) fn hint<'a>(text: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(text, known).map(|name| format!(" (did you mean {name}?)")).unwrap_or_default()
}

/// Insertions, deletions, replacements and swaps of neighbours.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<_>, Vec<_>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
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
