//! Cursor pages, newest first.
//!
//! A page is found by key, never by offset: "the items with an id below this one". Ids are UUIDs of version 7, whose
//! order is the order of creation, so a reader who follows the cursors sees every item that was there at the start
//! exactly once, whatever is created meanwhile.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use uuid::Uuid;

use crate::conditional::EntityTag;

/// What a page holds when the request does not say.
pub const DEFAULT_LIMIT: u8 = 20;
/// The most that one page holds.
pub const MAX_LIMIT: u8 = 100;

/// The first byte of every cursor. A change of the sort order takes the next number, so that a cursor handed out before
/// a release is refused after it and never misread.
const CURSOR_VERSION: u8 = 1;

/// One page of a list.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Page<T> {
    /// At most as many as the request's limit.
    pub items: Vec<T>,
    /// Where the next page starts; null on the last page.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// The tag of what the page shows: the ids and tags of its items, and where the next page starts.
    pub fn tag(&self, of_item: impl Fn(&T) -> (Uuid, EntityTag)) -> EntityTag {
        // Fixed keys: every instance of a release gives the same page the same tag. A reader of another release reads once more.
        let mut hasher = DefaultHasher::new();
        self.next_cursor.hash(&mut hasher);
        for (id, tag) in self.items.iter().map(of_item) {
            (id, tag.as_str()).hash(&mut hasher);
        }
        EntityTag::new(format!("{:016x}", hasher.finish()))
    }

    /// Makes a page of `rows`, which were read with a limit of one more than the page holds: that one says whether
    /// there is another page.
    pub fn from_rows(mut rows: Vec<T>, limit: Limit, id: impl Fn(&T) -> Uuid) -> Self {
        let full = rows.len() > limit.rows();
        rows.truncate(limit.rows());
        let next_cursor = rows.last().filter(|_| full).map(|last| Cursor(id(last)).encode());
        Self { items: rows, next_cursor }
    }
}

/// The query of a list as the description of the API has it.
#[cfg(feature = "openapi")]
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "it stands for what `Limit` and `Cursor` read")]
pub struct PageQuery {
    /// How many items the page holds at most.
    #[param(nullable = false, minimum = 1, maximum = 100, default = 20)]
    limit: Option<u8>,
    /// Where the page starts: the `next_cursor` of the page before. Opaque; other texts are refused.
    #[param(nullable = false, pattern = "^A[Q-Za-f][A-Za-z0-9_-]{20}[AEIMQUYcgkosw048]$")]
    cursor: Option<String>,
}

/// How many items a page holds, 1 to [`MAX_LIMIT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(u8);

impl Limit {
    /// Reads the `limit` parameter: decimal digits without sign.
    ///
    /// # Errors
    /// The rule, when the text breaks it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(limit @ 1..=MAX_LIMIT) if digits => Ok(Self(limit)),
            _ => Err(format!("must be a whole number from 1 to {MAX_LIMIT}")),
        }
    }

    fn rows(self) -> usize {
        usize::from(self.0)
    }

    /// The rows to read: one more than the page holds, see [`Page::from_rows`].
    #[must_use]
    pub fn rows_to_read(self) -> i64 {
        i64::from(self.0) + 1
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self(DEFAULT_LIMIT)
    }
}

/// A place in a list: after the item with this id. Opaque to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor(Uuid);

impl Cursor {
    /// The place before the newest item.
    pub const START: Self = Self(Uuid::max());

    /// Reads the `cursor` parameter.
    ///
    /// # Errors
    /// The rule, for everything that [`Page::from_rows`] did not write.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bytes = URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
        match bytes.split_first() {
            Some((&CURSOR_VERSION, id)) => Uuid::from_slice(id).map(Self).ok(),
            _ => None,
        }
        .ok_or_else(|| "must be the next_cursor of an earlier page, unchanged".to_owned())
    }

    /// The id that every item of the page is below.
    #[must_use]
    pub fn below(self) -> Uuid {
        self.0
    }

    fn encode(self) -> String {
        let mut bytes = [CURSOR_VERSION; 17];
        bytes[1..].copy_from_slice(self.0.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_limit_is_a_plain_number_in_range() {
        assert_eq!(Limit::parse("1").unwrap().rows(), 1);
        assert_eq!(Limit::parse("100").unwrap().rows(), 100);
        assert_eq!(Limit::default().rows(), 20);
        for refused in ["", "0", "101", "256", "-1", "+5", " 5", "5 ", "1.0", "ten", "٥"] {
            assert!(Limit::parse(refused).is_err(), "{refused:?}");
        }
    }

    #[test]
    fn a_cursor_of_another_version_or_length_is_refused() {
        let good = Cursor(Uuid::now_v7()).encode();
        assert!(Cursor::parse(&good).is_ok());
        let mut other_version = URL_SAFE_NO_PAD.decode(&good).unwrap();
        other_version[0] = 2;
        let padded = format!("{good}=");
        for refused in ["", "AQ", "not a cursor", &good[1..], &padded, &URL_SAFE_NO_PAD.encode(other_version)] {
            assert!(Cursor::parse(refused).is_err(), "{refused:?}");
        }
    }

    #[test]
    fn a_page_has_another_tag_when_anything_that_it_shows_is_another() {
        let page = |items: &[(u128, &'static str)], next: Option<&str>| {
            Page { items: items.to_vec(), next_cursor: next.map(str::to_owned) }
                .tag(|(id, tag)| (Uuid::from_u128(*id), EntityTag::new(*tag)))
        };
        let tag = page(&[(1, "a"), (2, "b")], None);
        assert_eq!(page(&[(1, "a"), (2, "b")], None), tag);
        for other in [
            page(&[(1, "a"), (2, "c")], None),
            page(&[(1, "a"), (3, "b")], None),
            page(&[(2, "b"), (1, "a")], None),
            page(&[(1, "a")], None),
            page(&[(1, "a"), (2, "b")], Some("x")),
            page(&[], None),
        ] {
            assert_ne!(other, tag);
        }
    }

    proptest! {
        #[test]
        fn a_cursor_survives_the_way_out_and_back(bits: u128) {
            let cursor = Cursor(Uuid::from_u128(bits));
            let text = cursor.encode();
            prop_assert_eq!(Cursor::parse(&text), Ok(cursor));
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'));
        }

        #[test]
        fn a_text_is_refused_or_is_the_cursor_it_was_written_as(text in "\\PC{0,30}|[A-Za-z0-9_-]{23}") {
            if let Ok(cursor) = Cursor::parse(&text) {
                prop_assert_eq!(cursor.encode(), text);
            }
        }

        #[test]
        fn a_page_never_exceeds_its_limit_and_points_on_only_when_more_rows_were_read(
            count in 0usize..=101, limit in 1u8..=100,
        ) {
            let rows: Vec<Uuid> = (0..count).map(|number| Uuid::from_u128(number as u128)).collect();
            let limit = Limit(limit);
            let read = rows.into_iter().take(limit.rows() + 1).collect::<Vec<_>>();
            let more = read.len() > limit.rows();
            let page = Page::from_rows(read, limit, |id| *id);
            prop_assert!(page.items.len() <= limit.rows());
            prop_assert_eq!(page.next_cursor.is_some(), more);
            if let Some(next) = page.next_cursor {
                prop_assert_eq!(Cursor::parse(&next).unwrap().below(), *page.items.last().unwrap());
            }
        }
    }
}
