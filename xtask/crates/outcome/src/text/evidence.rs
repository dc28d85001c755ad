//! Evidence for whoever asks for it: nested keys and values, a line each.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

pub(super) fn lines(evidence: &BTreeMap<String, Value>) -> Vec<String> {
    let mut text = String::new();
    for (key, value) in evidence {
        write_evidence(&mut text, key, value, 2);
    }
    text.lines().map(ToOwned::to_owned).collect()
}

fn write_evidence(text: &mut String, key: &str, value: &Value, indent: usize) {
    let pad = " ".repeat(indent);
    match value {
        Value::Object(map) => {
            let _ = writeln!(text, "{pad}{key}:");
            for (key, value) in map {
                write_evidence(text, key, value, indent + 2);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            let _ = writeln!(text, "{pad}{key}:");
            for item in items {
                let line = match item {
                    Value::Object(map) => {
                        map.iter().map(|(k, v)| format!("{k} {}", plain(v))).collect::<Vec<_>>().join(", ")
                    }
                    other => plain(other),
                };
                let _ = writeln!(text, "{pad}  - {line}");
            }
        }
        Value::Array(items) => {
            let _ = writeln!(text, "{pad}{key}: {}", items.iter().map(plain).collect::<Vec<_>>().join(", "));
        }
        other => {
            let _ = writeln!(text, "{pad}{key}: {}", plain(other));
        }
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}
