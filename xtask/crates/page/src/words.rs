//! Numbers and times as a person reads them.

/// `5.25 MB`: decimal units, three digits that matter.
pub(crate) fn bytes(bytes: u64) -> String {
    let (value, unit) = match bytes {
        0..1000 => return format!("{bytes} B"),
        1000..1_000_000 => (bytes as f64 / 1e3, "kB"),
        1_000_000..1_000_000_000 => (bytes as f64 / 1e6, "MB"),
        _ => (bytes as f64 / 1e9, "GB"),
    };
    let digits = if value < 10.0 {
        2
    } else if value < 100.0 {
        1
    } else {
        0
    };
    format!("{value:.digits$} {unit}")
}

/// `+12.0 kB`, `−3 B`, or `no change`.
pub(crate) fn growth(before: u64, now: u64) -> String {
    match now.cmp(&before) {
        std::cmp::Ordering::Equal => "no change".to_owned(),
        std::cmp::Ordering::Greater => format!("+{}", bytes(now - before)),
        std::cmp::Ordering::Less => format!("−{}", bytes(before - now)),
    }
}

/// `0.4 s`, `58 s`, `3 min 20 s`.
pub(crate) fn seconds(seconds: f64) -> String {
    if seconds < 9.95 {
        return format!("{seconds:.1} s");
    }
    // A time that a person waited for fits.
    #[expect(clippy::cast_possible_truncation, reason = "rounded, and bounded by the run")]
    let whole = seconds.round() as i64;
    if whole < 60 { format!("{whole} s") } else { format!("{} min {:02} s", whole / 60, whole % 60) }
}

/// `6,000`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 finding`, `6,000 findings`.
pub(crate) fn counted(number: usize, one: &str, many: &str) -> String {
    format!("{} {}", count(number as u64), if number == 1 { one } else { many })
}

/// `2026-11-26 05:12:53 UTC`, of a time in RFC 3339 and UTC.
pub(crate) fn time(rfc_3339: &str) -> String {
    rfc_3339.strip_suffix('Z').map_or_else(|| rfc_3339.to_owned(), |time| time.replacen('T', " ", 1) + " UTC")
}

/// The first digits of an id or commit: `sha256:0123456789ab`.
pub(crate) fn short(id: &str) -> String {
    let digits = id.strip_prefix("sha256:").unwrap_or(id);
    digits.chars().take(12).collect()
}

/// A text in which a commit written in full is cut to its first digits.
pub(crate) fn short_commits(text: &str) -> String {
    let is_commit = |word: &str| word.len() == 40 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let words = text.split_inclusive(|c: char| !c.is_ascii_alphanumeric());
    let shown = words.map(|word| match word.split_at_checked(40) {
        Some((commit, rest)) if is_commit(commit) => format!("{}{rest}", short(commit)),
        _ => word.to_owned(),
    });
    shown.collect()
}

/// A text that fits on a page: what is longer is cut, and says so.
pub(crate) fn bounded(text: &str, most_characters: usize) -> String {
    match text.char_indices().nth(most_characters) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}… (cut here; the whole text is in the JSON)", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits_that_matter() {
        let shown = [0, 999, 1000, 5_245_000, 76_060_000, 123_456_789, 1_500_000_000].map(bytes);
        assert_eq!(shown, ["0 B", "999 B", "1.00 kB", "5.25 MB", "76.1 MB", "123 MB", "1.50 GB"]);
        assert_eq!([growth(5, 5), growth(1000, 3500), growth(9, 2)], ["no change", "+2.50 kB", "−7 B"]);
    }

    #[test]
    fn times_and_counts_read_as_people_write_them() {
        assert_eq!(
            [0.04, 9.94, 9.96, 59.4, 60.0, 200.2].map(seconds),
            ["0.0 s", "9.9 s", "10 s", "59 s", "1 min 00 s", "3 min 20 s"]
        );
        assert_eq!([0, 999, 6000, 1_234_567].map(count), ["0", "999", "6,000", "1,234,567"]);
        assert_eq!(time("2026-11-26T05:12:53Z"), "2026-11-26 05:12:53 UTC");
        assert_eq!(short("sha256:0123456789abcdef"), "0123456789ab");
        let full = format!("user 0.1.0 ({}-dirty)", "0123456789".repeat(4));
        assert_eq!(short_commits(&full), "user 0.1.0 (012345678901-dirty)");
    }

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        assert_eq!(bounded("äöü", 3), "äöü");
        assert!(bounded("äöü", 2).starts_with("äö… (cut"));
    }
}
