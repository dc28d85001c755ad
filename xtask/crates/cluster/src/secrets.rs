//! The Secrets of a run: the values of its env file under the names and keys that the manifests take. They travel on standard
//! input alone.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use camino::Utf8Path;
use serde_json::{Value, json};

use crate::kubectl::Kubectl;

const APPLY_LIMIT_SECONDS: u64 = 60;

/// Secret → key → variable of the env file.
pub(crate) type Names = BTreeMap<String, BTreeMap<String, String>>;

/// Makes or replaces the Secrets that the env file has values for.
///
/// # Errors
/// When the cluster refuses.
pub(crate) fn apply(kubectl: &Kubectl, names: &Names, env_file: &Utf8Path) -> Result<()> {
    let text = std::fs::read_to_string(env_file).with_context(|| format!("read {env_file}"))?;
    apply_text(kubectl, names, &text)
}

pub(crate) fn apply_text(kubectl: &Kubectl, names: &Names, env: &str) -> Result<()> {
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": secrets(names, env) }).to_string();
    // Server-side: client-side `apply` would keep a copy of the values in an annotation.
    let arguments = ["apply", "--server-side", "--filename", "-"];
    kubectl.feed(&arguments, list.as_bytes(), APPLY_LIMIT_SECONDS).map(drop)
}

fn secrets(names: &Names, env: &str) -> Vec<Value> {
    let values = values(env);
    let secret = |(name, keys): (&String, &BTreeMap<String, String>)| {
        let data: BTreeMap<_, _> =
            keys.iter().filter_map(|(key, variable)| Some((key, *values.get(variable.as_str())?))).collect();
        // An optional one may have no value yet.
        (!data.is_empty())
            .then(|| json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name }, "stringData": data }))
    };
    names.iter().filter_map(secret).collect()
}

/// The Secrets whose values differ between two texts of the env file.
pub(crate) fn changed(names: &Names, before: &str, after: &str) -> BTreeSet<String> {
    let (before, after) = (values(before), values(after));
    let is_changed = |keys: &BTreeMap<String, String>| {
        keys.values().any(|variable| before.get(variable.as_str()) != after.get(variable.as_str()))
    };
    names.iter().filter(|(_, keys)| is_changed(keys)).map(|(name, _)| name.clone()).collect()
}

/// The Secrets that a workload's pods take variables from.
pub(crate) fn taken(workload: &Value) -> BTreeSet<String> {
    let pod = &workload["spec"]["template"]["spec"];
    let containers =
        ["initContainers", "containers"].into_iter().flat_map(|key| pod[key].as_array().into_iter().flatten());
    let mut found = BTreeSet::new();
    for container in containers {
        let entries = container["env"].as_array().into_iter().flatten();
        let keys = entries.map(|entry| &entry["valueFrom"]["secretKeyRef"]["name"]);
        let whole = container["envFrom"].as_array().into_iter().flatten().map(|source| &source["secretRef"]["name"]);
        found.extend(keys.chain(whole).filter_map(|name| name.as_str().map(ToOwned::to_owned)));
    }
    found
}

fn values(env: &str) -> BTreeMap<&str, &str> {
    env.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('=')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let one = |key: &str, variable: &str| BTreeMap::from([(key.to_owned(), variable.to_owned())]);
        BTreeMap::from([
            ("key".to_owned(), one("KEY", "KEY")),
            ("key-before".to_owned(), one("KEY_BEFORE", "KEY_BEFORE")),
            ("db".to_owned(), one("PASSWORD", "DB_PASSWORD")),
        ])
    }

    #[test]
    fn a_secret_without_a_value_is_not_made_and_a_new_value_names_its_secret() {
        let (before, after) = ("# x=1\nKEY=a\nDB_PASSWORD=p\n", "KEY=b\nDB_PASSWORD=p\nKEY_BEFORE=a\n");
        let made: Vec<_> = secrets(&names(), before).iter().map(|one| one["metadata"]["name"].clone()).collect();
        assert_eq!(made, ["db", "key"]);
        assert_eq!(secrets(&names(), before)[0]["stringData"], json!({ "PASSWORD": "p" }));
        assert_eq!(changed(&names(), before, after), ["key", "key-before"].map(ToOwned::to_owned).into());
    }

    #[test]
    fn what_a_workload_takes_is_read_from_variables_and_whole_sources() {
        let workload = json!({ "spec": { "template": { "spec": { "containers": [{
            "env": [{ "name": "A", "valueFrom": { "secretKeyRef": { "name": "db", "key": "PASSWORD" } } }, { "name": "B", "value": "x" }],
            "envFrom": [{ "secretRef": { "name": "all" } }, { "configMapRef": { "name": "shop" } }],
        }] } } } });
        assert_eq!(taken(&workload), ["all", "db"].map(ToOwned::to_owned).into());
    }
}
