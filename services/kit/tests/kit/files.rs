//! `NAME_FILE`: secrets from files.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use mini_kit::config::Faults;
use mini_kit::contract::{Contract, Loader};
use mini_kit::secret::{ExposeSecret as _, SecretString};

fn password(contract: &mut Contract) -> Loader<SecretString> {
    let password = contract.required("PASSWORD", "A password.");
    Box::new(|values| values.take(password))
}

fn load(path: &Path, direct: Option<&str>) -> Result<String, Faults> {
    let source = |name: &str| match name {
        "PASSWORD_FILE" => Some(path.as_os_str().to_owned()),
        "PASSWORD" => direct.map(OsString::from),
        _ => None,
    };
    mini_kit::config::load(password, &source).map(|secret| secret.expose_secret().to_owned())
}

fn load_bytes(bytes: &[u8]) -> Result<String, Faults> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a secret");
    fs::write(&path, bytes).unwrap();
    load(&path, None)
}

#[test]
fn one_trailing_newline_is_removed() {
    for bytes in ["s3cret", "s3cret\n", "s3cret\r\n"] {
        assert_eq!(load_bytes(bytes.as_bytes()).unwrap(), "s3cret");
    }
}

/// Case R04, in files.
#[test]
fn what_nobody_sees_in_a_file_is_refused_and_not_part_of_the_secret() {
    for (bytes, reason) in [
        ("S3CR3T-c4n4ry ", "white space"),
        ("S3CR3T-c4n4ry \n", "white space"),
        ("\tS3CR3T-c4n4ry\n", "white space"),
        ("S3CR3T-c4n4ry\u{a0}", "white space"),
        ("\u{feff}S3CR3T-c4n4ry\n", "byte order mark"),
        ("S3CR3T\u{202e}c4n4ry", "invisible"),
        ("S3CR3T-c4n4ry\u{e0041}", "invisible"),
        ("S3CR3T-c4n4ry\n\n", "more than one line"),
        ("S3CR3T-c4n4ry\nsecond\n", "more than one line"),
        ("S3CR3T-c4n4ry\r", "more than one line"),
        ("S3CR3T\0c4n4ry", "control character"),
        ("S3CR3T\u{1b}c4n4ry", "control character"),
    ] {
        let message = load_bytes(bytes.as_bytes()).unwrap_err().to_string();
        assert!(message.contains("PASSWORD is malformed") && message.contains("PASSWORD_FILE"), "{bytes:?}: {message}");
        assert!(message.contains(reason) && !message.contains("S3CR3T"), "{bytes:?}: {message}");
    }
}

#[test]
fn what_people_write_is_no_fault() {
    // A family, which joiners make one sign, and a Persian word with a non-joiner.
    for text in ["\u{1f468}\u{200d}\u{1f469}", "\u{645}\u{6cc}\u{200c}\u{62e}"] {
        load_bytes(text.as_bytes()).unwrap();
    }
}

#[test]
fn a_blank_file_is_an_unset_variable() {
    for blank in ["", "\n", "  \r\n"] {
        assert!(load_bytes(blank.as_bytes()).unwrap_err().to_string().contains("PASSWORD is missing"));
    }
}

#[test]
fn files_that_cannot_be_a_secret_are_refused_without_their_content() {
    let too_large = "S3CR3T-c4n4ry".repeat(6000);
    for (bytes, reason) in [(too_large.as_bytes(), "is larger than"), (b"S3CR3T-c4n4ry\xff", "is not valid UTF-8")] {
        let message = load_bytes(bytes).unwrap_err().to_string();
        assert!(message.contains(reason) && !message.contains("S3CR3T"), "{message}");
    }
    let folder = tempfile::tempdir().unwrap();
    assert!(load(folder.path(), None).unwrap_err().to_string().contains("is not a regular file"));
    assert!(load(&folder.path().join("absent"), None).unwrap_err().to_string().contains("cannot be read"));
}

#[test]
fn both_forms_at_once_are_an_error() {
    let message = load(Path::new("/absent"), Some("S3CR3T-c4n4ry")).unwrap_err().to_string();
    assert!(message.contains("PASSWORD and PASSWORD_FILE are both set"), "{message}");
    assert!(!message.contains("S3CR3T"), "{message}");
}
