//! The user of an image as a container platform reads it (case I03).

/// `Config.User`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageUser {
    /// None, or number 0 whichever way it is written.
    Root,
    /// A name: only the image's own list of users says whether it is root, and the kubelet does not read that.
    Name,
    /// A number that some reader may take for another: a leading zero is octal to some, a sign is refused by others.
    Odd,
    /// A plain number.
    Number {
        /// The user's.
        uid: u32,
        /// What is known of the group.
        group: ImageGroup,
    },
}

/// The group in `Config.User`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageGroup {
    /// None is named: the engine takes the user's own, which without a list of users is root's.
    Unnamed,
    /// Root's.
    Root,
    /// A name or an odd spelling.
    Name,
    /// A plain number other than 0.
    Number(u32),
}

impl ImageUser {
    /// Reads `USER`, `USER:GROUP`, or nothing.
    pub fn parse(text: &str) -> Self {
        let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
        if user.is_empty() || user == "root" {
            return Self::Root;
        }
        match user.parse::<i64>() {
            Ok(0) => Self::Root,
            Ok(_) => plain(user).map_or(Self::Odd, |uid| Self::Number { uid, group: ImageGroup::parse(group) }),
            Err(_) => Self::Name,
        }
    }
}

impl ImageGroup {
    fn parse(text: Option<&str>) -> Self {
        match text {
            None | Some("") => Self::Unnamed,
            Some("root") => Self::Root,
            Some(text) if text.parse::<i64>() == Ok(0) => Self::Root,
            Some(text) => plain(text).map_or(Self::Name, Self::Number),
        }
    }
}

/// A number that is written in the one way that everybody reads alike.
fn plain(text: &str) -> Option<u32> {
    text.parse::<u32>().ok().filter(|number| number.to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_number_and_nothing_is_root() {
        for text in ["", "0", "0:0", "root", "00", "root:root", ":1000", "-0", "+0"] {
            assert_eq!(ImageUser::parse(text), ImageUser::Root, "{text:?}");
        }
        for text in ["nonroot", "nonroot:nonroot", " 65532", "65532 ", "0x10", "1e3"] {
            assert_eq!(ImageUser::parse(text), ImageUser::Name, "{text:?}");
        }
        for text in ["065532", "+65532", "-1", "4294967296"] {
            assert_eq!(ImageUser::parse(text), ImageUser::Odd, "{text:?}");
        }
    }

    #[test]
    fn the_group_is_read_like_the_user() {
        for (text, group) in [
            ("65532", ImageGroup::Unnamed),
            ("65532:", ImageGroup::Unnamed),
            ("65532:0", ImageGroup::Root),
            ("65532:00", ImageGroup::Root),
            ("65532:root", ImageGroup::Root),
            ("65532:nonroot", ImageGroup::Name),
            ("65532:065532", ImageGroup::Name),
            ("65532:65532", ImageGroup::Number(65532)),
        ] {
            assert_eq!(ImageUser::parse(text), ImageUser::Number { uid: 65532, group }, "{text:?}");
        }
    }
}
