//! What the rules see: the places read, each deployment with its contract, and the list that findings go into.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::compose::Stack;
use super::contract::{Contract, Variable};
use super::dockerfile::Dockerfile;
use super::env_file::EnvFile;
use super::kubernetes::Cluster;
use super::places::{ComposePlace, Deployment, DockerfilePlace, KubernetesPlace, Places};
use super::policy::{ForeignImage, Policy};
use super::template::Template;
use super::value_type::Url;
use xtask_image_config::secret::name_is_secret;
use xtask_outcome::{Finding, Place};

/// Marks where a variable's value goes, while a value is looked at without it. No value holds it.
const MARK: char = '\u{1}';

pub(crate) struct View<'a> {
    pub(crate) places: &'a Places,
    pub(crate) policy: &'a Policy,
    /// What Compose starts, then what Kubernetes starts.
    pub(crate) stacks: Vec<Arc<Stack>>,
    /// What the manifests say beyond that; each of them has its stack at the end of `stacks`.
    pub(crate) clusters: Vec<Arc<Cluster>>,
    /// The contracts that the policy writes down, one for each of its images.
    pub(crate) foreign: Vec<Contract>,
    pub(crate) dockerfiles: Vec<(&'a str, &'a str, Arc<Dockerfile>)>,
    pub(crate) example: Option<EnvFile>,
    pub(crate) env: Option<EnvFile>,
}

/// A finding, with what decides whether an exception or a selection reaches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) finding: Finding,
    /// `compose.yaml/user/DATABASE_URL`.
    pub(crate) scope: String,
    /// The service it is about; `None` when it is about all.
    pub(crate) service: Option<String>,
}

/// Where findings go.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) found: Vec<Found>,
    /// Worth knowing and no finding.
    pub(crate) notes: Vec<String>,
}

/// What a finding is about.
pub(crate) struct About<'a> {
    pub(crate) place: &'a Place,
    /// The service, or whatever else stands between the file and the variable; may be empty.
    pub(crate) service: &'a str,
    pub(crate) variable: &'a str,
}

impl Findings {
    /// Whether something was found about a variable at a place: what follows from it elsewhere is then no finding of its own.
    pub(crate) fn has(&self, place: &Place, variable: &str) -> bool {
        let is_it = |found: &Found| found.finding.place == *place && found.scope.rsplit('/').next() == Some(variable);
        self.found.iter().any(is_it)
    }

    /// Whether a secret was found at a place.
    pub(crate) fn has_secret(&self, place: &Place, variable: &str) -> bool {
        let is_it = |found: &Found| {
            found.finding.rule.starts_with("secret-")
                && found.finding.place == *place
                && found.scope.rsplit('/').next() == Some(variable)
        };
        self.found.iter().any(is_it)
    }

    /// What the reading found already.
    pub(crate) fn add_known(&mut self, finding: &Finding) {
        let Finding { rule, place, message, next_step } = finding;
        self.add(rule, &About { place, service: "", variable: "" }, message, next_step);
    }

    pub(crate) fn add(
        &mut self,
        rule: &'static str,
        about: &About<'_>,
        message: impl Into<String>,
        next_step: impl Into<String>,
    ) {
        let parts = [about.place.name.as_str(), about.service, about.variable];
        let scope = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
        let service = (!about.service.is_empty()).then(|| about.service.to_owned());
        let (message, next_step) = (message.into(), next_step.into());
        debug_assert!(!next_step.trim().is_empty(), "{rule}: {message}: without a next step");
        let finding = Finding { rule, place: about.place.clone(), message, next_step };
        // A place that two stacks share is judged twice and told once.
        if !self.found.iter().any(|known| known.finding == finding) {
            self.found.push(Found { finding, scope, service });
        }
    }
}

impl<'a> View<'a> {
    /// Whether a Compose file of the root that is part of no stack read here has the name of a variable: nobody knows what that file is
    /// for, and the variable may be for it.
    pub(crate) fn is_in_another_compose_file(&self, variable: &str) -> bool {
        let is_read = |file: &str| {
            self.places.compose.iter().any(|place| {
                let included = place.included.iter().map(|one| &one.file);
                let merged = place.merged_into.iter().chain(&place.extended).map(|(file, _)| file);
                included.chain(merged).chain([&place.file]).any(|known| known == file)
            })
        };
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let has_it = |text: &str| text.split(|c| !is_part(c)).any(|word| word == variable);
        self.places.compose_texts.iter().any(|(file, text)| !is_read(file) && has_it(text))
    }

    pub(crate) fn new(places: &'a Places, policy: &'a Policy) -> Self {
        Self::like(places, policy, None)
    }

    /// As [`View::new`]; what another view has read from the same text already is taken from it.
    pub(crate) fn like(places: &'a Places, policy: &'a Policy, other: Option<&View<'_>>) -> Self {
        let parse = |bytes: &Vec<u8>| EnvFile::parse(bytes, false);
        let secrets = &policy.kubernetes.secrets;
        let cluster = |(at, place): (usize, &KubernetesPlace)| {
            let known = other.filter(|other| other.places.kubernetes.get(at).is_some_and(|known| known.is_same(place)));
            known.map_or_else(|| Arc::new(Cluster::read(place, secrets)), |other| other.clusters[at].clone())
        };
        let stack = |(at, place): (usize, &ComposePlace)| {
            let is_same =
                |other: &&View<'_>| other.places.compose.get(at) == Some(place) && other.places.files == places.files;
            let known = other.filter(is_same);
            known.map_or_else(|| Arc::new(Stack::read(place, &places.files)), |other| other.stacks[at].clone())
        };
        let dockerfile = |(at, place): (usize, &'a DockerfilePlace)| {
            let known =
                other.filter(|other| other.places.dockerfiles.get(at).is_some_and(|known| known.text == place.text));
            let read =
                known.map_or_else(|| Arc::new(Dockerfile::parse(&place.text)), |other| other.dockerfiles[at].2.clone());
            (place.service.as_str(), place.file.as_str(), read)
        };
        let clusters: Vec<_> = places.kubernetes.iter().enumerate().map(cluster).collect();
        let composed = places.compose.iter().enumerate().map(stack);
        Self {
            places,
            policy,
            stacks: composed.chain(clusters.iter().map(|cluster| cluster.stack.clone())).collect(),
            clusters,
            foreign: policy.images.iter().map(ForeignImage::contract).collect(),
            dockerfiles: places.dockerfiles.iter().enumerate().map(dockerfile).collect(),
            example: places.example.as_ref().map(parse),
            env: places.env.as_ref().map(parse),
        }
    }

    pub(crate) fn deployments(&self) -> impl Iterator<Item = (&Stack, &Deployment)> {
        self.stacks.iter().flat_map(|stack| stack.deployments.iter().map(move |deployment| (&**stack, deployment)))
    }

    /// The contract of one of our own images.
    pub(crate) fn own_contract(&self, deployment: &Deployment) -> Option<&Contract> {
        let repository = deployment.repository();
        let name = repository.rsplit('/').next().unwrap_or_default();
        let of_image = |image: &&super::places::ImagePlace| match name {
            // An image that is given without a default says nothing; the service's name does.
            "" => image.service == deployment.name,
            name => image.contract.image == name,
        };
        self.places.images.iter().find(of_image).map(|image| &image.contract)
    }

    pub(crate) fn foreign_image(&self, deployment: &Deployment) -> Option<(&ForeignImage, &Contract)> {
        let repository = deployment.repository();
        let at = self.policy.images.iter().position(|image| image.repositories.contains(&repository))?;
        Some((&self.policy.images[at], &self.foreign[at]))
    }

    pub(crate) fn contract(&self, deployment: &Deployment) -> Option<&Contract> {
        self.own_contract(deployment).or_else(|| self.foreign_image(deployment).map(|(_, contract)| contract))
    }

    pub(crate) fn contracts(&self) -> impl Iterator<Item = &Contract> {
        self.places.images.iter().map(|image| &image.contract).chain(&self.foreign)
    }

    /// Whether a name is that of a secret: as the contracts say, else by its ending.
    pub(crate) fn is_secret(&self, name: &str) -> bool {
        let mut known = self.contracts().filter_map(|contract| contract.variable(name)).peekable();
        if known.peek().is_some() { known.any(|variable| variable.secret) } else { name_is_secret(name) }
    }

    /// A value of `.env`, where there is one.
    pub(crate) fn env_value(&self, name: &str) -> Option<String> {
        self.env.as_ref()?.value(name)
    }

    /// The secrets of this machine's `.env`, to be looked for where they must not be. Names and values.
    pub(crate) fn known_secrets(&self) -> Vec<(String, String)> {
        const SHORTEST: usize = 8;
        let Some(env) = &self.env else { return Vec::new() };
        let names: BTreeSet<_> = env.entries.iter().map(|entry| entry.name.clone()).collect();
        let secret = self.secret_interpolations();
        names
            .into_iter()
            .filter(|name| secret.contains(name) || self.is_secret(name))
            .filter_map(|name| env.value(&name).map(|value| (name, value)))
            .filter(|(_, value)| value.trim().len() >= SHORTEST && !is_word(value.trim()))
            .collect()
    }

    /// The variables of a Compose file that carry secrets: those that a secret, or the password in it, is made of.
    pub(crate) fn secret_interpolations(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for (_, deployment) in self.deployments() {
            for setting in &deployment.settings {
                let variable = self.contract(deployment).and_then(|contract| contract.variable(&setting.name));
                match variable {
                    Some(variable) if variable.secret => names.extend(secret_references(&setting.value, variable)),
                    None if name_is_secret(&setting.name) => {
                        names.extend(setting.value.references().iter().map(|reference| reference.name.clone()));
                    }
                    _ => {}
                }
            }
        }
        let all = self.stacks.iter().flat_map(|stack| &stack.interpolations);
        names.extend(all.map(|one| one.reference.name.clone()).filter(|name| self.is_secret(name)));
        names
    }
}

/// A word that stands in many texts without being this secret there: `postgres`, `change-me`.
fn is_word(value: &str) -> bool {
    const LONGEST: usize = 15;
    value.len() <= LONGEST && value.chars().all(|c| c.is_ascii_lowercase() || c == '-' || c == '_')
}

/// The references that the secret part of a secret's value is made of: all of it, or the password of a URL.
fn secret_references(value: &Template, variable: &Variable) -> BTreeSet<String> {
    let names: BTreeSet<_> = value.references().iter().map(|reference| reference.name.clone()).collect();
    if !variable.value_type.is_url() || value.only_reference().is_some() {
        return names;
    }
    let is_in_password = |name: &&String| {
        let filled = marked(value, |other| other == name.as_str());
        Url::parse(&filled).ok().and_then(|url| url.password.map(|password| password.contains(MARK))).unwrap_or(true)
    };
    names.iter().filter(is_in_password).cloned().collect()
}

/// The value with a mark in place of some variables and nothing in place of the others.
fn marked(value: &Template, wanted: impl Fn(&str) -> bool) -> String {
    let mark = |name: &str| Some(if wanted(name) { MARK.to_string() } else { "x".to_owned() });
    value.fill(&mark, "x").text
}

/// Text that stands in the place of a secret as it is: in all of the value, or in the password of a URL.
pub(crate) fn has_secret_literal(value: &Template, variable: &Variable) -> bool {
    let mut filled = marked(value, |_| true);
    // A default is written down in the file as well, and stands in when nobody gives a value.
    let standing_in = value.fill(&|_| None, "").text;
    if variable.value_type.is_url() {
        let password = |text: &str| Url::parse(text).ok().and_then(|url| url.password.map(ToOwned::to_owned));
        let is_written = |text: String| password(&text).is_some_and(|p| !p.replace(MARK, "").trim().is_empty());
        return is_written(filled) || is_written(standing_in);
    }
    filled.retain(|letter| letter != MARK);
    !filled.trim().is_empty() || !standing_in.trim().is_empty()
}

/// The uses of every variable that a stack interpolates, by name.
pub(crate) fn interpolated(stack: &Stack) -> BTreeMap<String, Vec<&super::compose::Interpolation>> {
    let mut map: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for one in &stack.interpolations {
        map.entry(one.reference.name.clone()).or_default().push(one);
    }
    map
}
