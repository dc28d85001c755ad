//! Declaring, loading and printing.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::time::Duration;

use mini_kit::config::{Fault, FaultKind, Faults, Source};
use mini_kit::contract::{Contract, Loader};
use mini_kit::secret::SecretString;
use mini_kit::server::Settings;
use mini_kit::types::Port;
use mini_kit_api::database;
use mini_kit_api::token::{PublicKey, SigningKey};
use proptest::prelude::*;

const CANARY: &str = "S3CR3T-c4n4ry";

type Everything = (Settings, database::Settings, SigningKey, Option<SecretString>, Option<String>);

fn everything(contract: &mut Contract) -> Loader<Everything> {
    let server = Settings::declare(contract);
    let database = database::Settings::declare(contract);
    let key = contract.required("KEY", "A key.");
    let password = contract.optional("PASSWORD", "A password.");
    let name = contract.optional("NAME", "A name.");
    contract.together(&password, &name);
    Box::new(move |values| {
        (server(values), database(values), values.take(key), values.take(password), values.take(name))
    })
}

fn contract() -> Contract {
    let mut contract = Contract::default();
    let _loader = everything(&mut contract);
    contract
}

fn load(variables: &[(&str, &str)]) -> Result<Everything, Faults> {
    let map: HashMap<_, _> = variables.iter().copied().collect();
    mini_kit::config::load(everything, &|name| map.get(name).map(OsString::from))
}

fn good() -> Vec<(&'static str, &'static str)> {
    vec![("DATABASE_URL", "postgres://u:pw@db/shop"), ("KEY", "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=")]
}

fn fault_of(variables: &[(&str, &str)], name: &str) -> Fault {
    let faults = load(variables).expect_err("a fault is expected").0;
    faults.into_iter().find(|fault| fault.variable.name == name).expect("the fault names the variable")
}

#[test]
fn all_missing_variables_are_named_at_once() {
    let faults = load(&[]).unwrap_err();
    assert_eq!(faults.names(FaultKind::Missing), ["DATABASE_URL", "KEY"]);
    assert!(faults.names(FaultKind::Malformed).is_empty());
}

#[test]
fn missing_and_malformed_variables_are_named_together() {
    let faults = load(&[("PORT", "x"), ("DATABASE_URL", "mysql://u@h/d")]).unwrap_err();
    assert_eq!(faults.names(FaultKind::Missing), ["KEY"]);
    assert_eq!(faults.names(FaultKind::Malformed), ["PORT", "DATABASE_URL"]);
    let message = faults.to_string();
    for name in ["PORT", "DATABASE_URL", "KEY"] {
        assert!(message.contains(name), "{message}");
    }
}

#[test]
fn blank_is_unset() {
    for blank in ["", " ", "\t", "  \n "] {
        let mut variables = good();
        variables.extend([("PORT", blank), ("PASSWORD", blank), ("DATABASE_URL_FILE", blank)]);
        let (server, _, _, password, _) = load(&variables).expect("blank optional variables are unset");
        assert_eq!(server.address.port(), 8080);
        assert!(password.is_none());
        variables.push(("KEY", blank));
        assert_eq!(fault_of(&variables, "KEY").kind, FaultKind::Missing);
    }
}

#[test]
fn placeholders_and_padded_secrets_are_refused() {
    for value in ["changeme", "secret", "Password", " CHANGEME ", &format!("{}x", " ".repeat(31))] {
        for name in ["KEY", "DATABASE_URL"] {
            let mut variables = good();
            variables.push((name, value));
            assert_eq!(fault_of(&variables, name).kind, FaultKind::Malformed, "{name} {value:?}");
        }
    }
    let mut variables = good();
    variables.extend([("PASSWORD", "changeme"), ("NAME", "n")]);
    assert_eq!(fault_of(&variables, "PASSWORD").kind, FaultKind::Malformed);
    variables[0] = ("DATABASE_URL", "postgres://u:changeme@db/shop");
    assert_eq!(fault_of(&variables, "DATABASE_URL").kind, FaultKind::Malformed);
}

/// Case R04, in the environment: for every type of variable, secret or not.
#[test]
fn what_nobody_sees_in_a_value_is_refused_and_not_part_of_it() {
    for (before, after, reason) in [
        (" ", "", "white space"),
        ("", " ", "white space"),
        ("", "\t", "white space"),
        ("\u{3000}", "", "white space"),
        ("\u{feff}", "", "byte order mark"),
        ("", "\u{200b}", "invisible"),
        ("", "\n", "more than one line"),
        ("", "\r\n", "more than one line"),
        ("", "\nx", "more than one line"),
        ("\u{1}", "", "control character"),
        ("", "\u{7f}", "control character"),
    ] {
        for (name, value) in [
            ("NAME", "mini"),
            ("PASSWORD", CANARY),
            ("DATABASE_URL", "postgres://u:S3CR3T-c4n4ry@db/shop"),
            ("KEY", "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="),
            ("PORT", "8080"),
            ("REQUEST_TIMEOUT", "10s"),
            ("PASSWORD_FILE", "/run/secrets/S3CR3T-c4n4ry"),
        ] {
            let text = format!("{before}{value}{after}");
            let map: HashMap<_, _> = good().into_iter().chain([(name, text.as_str())]).collect();
            let faults = mini_kit::config::load(everything, &|name| map.get(name).map(OsString::from)).unwrap_err();
            let known = name.trim_end_matches("_FILE");
            assert!(faults.names(FaultKind::Malformed).contains(&known), "{name}={text:?}: {faults}");
            let message = faults.to_string();
            assert!(message.contains(reason), "{name}={text:?}: {message}");
            assert!(!message.contains(CANARY), "{message}");
        }
    }
    // Blanks within a value are its owner's business.
    let mut variables = good();
    variables.extend([("PASSWORD", "correct horse"), ("NAME", "two words")]);
    assert!(load(&variables).is_ok());
}

#[test]
fn text_that_is_not_utf8_is_an_error_that_names_the_variable() {
    let source = |name: &str| (name == "PORT").then(|| OsString::from_vec(vec![b'8', 0xff]));
    let faults = mini_kit::config::load(Settings::declare, &source).unwrap_err();
    assert_eq!(faults.names(FaultKind::Malformed), ["PORT"]);
    assert!(faults.to_string().contains("not valid UTF-8"));
}

#[test]
fn variables_that_belong_together_are_demanded_together() {
    let mut variables = good();
    variables.push(("NAME", "n"));
    let fault = fault_of(&variables, "PASSWORD");
    assert_eq!((fault.kind, fault.reason.as_ref()), (FaultKind::Missing, "it must be set because NAME is"));
}

#[test]
fn of_all_times_only_the_drain_delay_may_be_zero() {
    let durations: Vec<_> = contract().variables().filter(|variable| variable.kind == "duration").copied().collect();
    assert_eq!(durations.len(), 6);
    for variable in durations {
        let mut variables = good();
        variables.push((variable.name, "0ms"));
        assert_eq!(load(&variables).is_ok(), variable.name == "DRAIN_DELAY", "{}", variable.name);
    }
}

#[test]
fn what_is_printed_is_what_is_read() {
    let asked = RefCell::new(Vec::new());
    let source = |name: &str| {
        asked.borrow_mut().push(name.to_owned());
        None
    };
    let contract = contract();
    let _ = contract.load(&source);
    assert_eq!(asked.into_inner(), contract.names());
    let printed: serde_json::Value = serde_json::from_str(&contract.to_json("mini-test")).unwrap();
    let printed: Vec<_> = printed["variables"].as_array().unwrap().iter().map(|variable| &variable["name"]).collect();
    let declared: Vec<_> = contract.variables().map(|variable| variable.name).collect();
    assert_eq!(printed, declared);
}

#[test]
fn the_json_form_is_stable() {
    let mut contract = Contract::default();
    let _ = contract.required::<SigningKey>("KEY", "A key.");
    let _ = contract.with_default::<Port>("PORT", "8080", "A port.");
    let _ = contract.optional::<PublicKey>("OLD", "An old key.");
    let expected = serde_json::json!({"schema": 1, "service": "mini-test", "variables": [
        {"name": "KEY", "kind": "required", "default": null, "type": "base64-32", "secret": true, "file_variant": true,
         "description": "A key."},
        {"name": "PORT", "kind": "default", "default": "8080", "type": "port", "secret": false, "file_variant": false,
         "description": "A port."},
        {"name": "OLD", "kind": "optional", "default": null, "type": "base64-32", "secret": false,
         "file_variant": false, "description": "An old key."},
    ]});
    let printed: serde_json::Value = serde_json::from_str(&contract.to_json("mini-test")).unwrap();
    assert_eq!(printed, expected);
}

#[test]
fn mistakes_in_declarations_are_found() {
    assert!(contract().mistakes().is_empty(), "{:?}", contract().mistakes());
    let mut wrong = Contract::default();
    let _ = wrong.with_default::<Port>("PORT", "x", " ");
    let _ = wrong.optional::<SigningKey>("KEY", "A key.");
    let _ = wrong.optional::<String>("KEY_FILE", "Clashes with the file variant.");
    let time = wrong.with_default::<Duration>("WAIT", "1s", "A time that is to be shorter than what is no time.");
    wrong.shorter(&time, "PORT");
    assert_eq!(wrong.mistakes().len(), 4, "{:?}", wrong.mistakes());
}

#[test]
fn debug_output_of_a_configuration_shows_no_secret() {
    let url = format!("postgres://u:{CANARY}@db:5432/shop");
    let mut variables = good();
    variables.extend([("DATABASE_URL", url.as_str()), ("PASSWORD", CANARY), ("NAME", "n")]);
    let key = variables[1].1;
    let loaded = load(&variables).unwrap();
    for text in [format!("{loaded:?}"), format!("{loaded:#?}"), loaded.1.url.to_string()] {
        assert!(!text.contains(CANARY) && !text.contains(key), "{text}");
        assert!(!text.contains("1, 1, 1, 1"), "{text}");
    }
    assert_eq!(loaded.1.url.to_string(), "the database at db:5432");
}

#[test]
fn database_urls_that_hide_a_wish_are_refused() {
    for (url, word) in [
        ("postgres://u:p@h/d?sslmode=require", "TLS"),
        ("postgres://u:p@h/d?sslmode=verify-full", "TLS"),
        ("postgres://u:p@h/d?sslrootcert=x", "parameters"),
        ("postgres://u:p@h/d?password=x", "parameters"),
        ("postgres://u:p@h/", "database"),
        ("postgres://h/d", "user"),
        ("postgres://u:S3CR3T-c4n4ry@@/x", ""),
        ("postgres://u:S3CR3T-c4n4ry@h:99999/x", "port"),
        ("h/d", "URL"),
    ] {
        let mut variables = good();
        variables.push(("DATABASE_URL", url));
        let fault = fault_of(&variables, "DATABASE_URL");
        assert!(fault.reason.contains(word) && !fault.reason.contains(CANARY), "{url}: {}", fault.reason);
    }
}

proptest! {
    #[test]
    fn loading_never_panics_and_never_shows_a_value(
        index in 0_usize..32,
        before in "\\PC{0,12}",
        after in "\\PC{0,12}",
        // The second spelling stays within the alphabet of base64, so that it comes further in the parsing of a key.
        canary in prop::sample::select(vec![CANARY, "S3CR3Tc4n4ry"]),
        template in prop::sample::select(vec!["", "postgres://u:", "postgres://", "tcp://", "AQEB"]),
    ) {
        let contract = contract();
        let names = contract.names();
        let chosen = &names[index % names.len()];
        let value = format!("{template}{before}{canary}{after}");
        let source: &Source<'_> = &|name| (name == chosen).then(|| OsString::from(&value));
        match contract.load(source) {
            Ok(_) => prop_assert!(false, "two required variables are unset"),
            Err(faults) => {
                let texts = format!("{faults} {faults:?}");
                prop_assert!(!texts.contains(canary));
            }
        }
    }
}
