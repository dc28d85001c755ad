//! The user of an image as a container platform reads it (case I03).

/// `Config.User`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ImageUser {
    /// None, or number 0 whichever way it is written.
    Root,
    /// A name: only the image's own list of users says whether it is root, and the kubelet does not read that.
    Name,
    /// A number; `group_zero` when the group is root's.
    Number { uid: i64, group_zero: bool },
}

impl ImageUser {
    pub(crate) fn parse(text: &str) -> Self {
        let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
        match user.parse::<i64>() {
            Ok(0) => Self::Root,
            Ok(uid) => Self::Number {
                uid,
                group_zero: matches!(group.map(str::parse::<i64>), Some(Ok(0))) || group == Some("root"),
            },
            Err(_) if user.is_empty() || user == "root" => Self::Root,
            Err(_) => Self::Name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_number_and_nothing_is_root() {
        for text in ["", "0", "0:0", "root", "00", "root:root", ":1000"] {
            assert_eq!(ImageUser::parse(text), ImageUser::Root, "{text:?}");
        }
        for text in ["nonroot", "nonroot:nonroot", " 65532", "65532 ", "0x10", "1e3"] {
            assert_eq!(ImageUser::parse(text), ImageUser::Name, "{text:?}");
        }
        for text in ["65532", "65532:65532", "65532:nonroot", "065532"] {
            assert_eq!(ImageUser::parse(text), ImageUser::Number { uid: 65532, group_zero: false }, "{text:?}");
        }
        assert_eq!(ImageUser::parse("1000:0"), ImageUser::Number { uid: 1000, group_zero: true });
    }
}
