//! URLs between the containers of a stack: does anything answer there, and would it let the caller in?

use std::collections::BTreeSet;

use crate::compose::Stack;
use crate::nearest::hint;
use crate::places::{Deployment, Setting};
use crate::template::Template;
use crate::value_type::Url;
use crate::view::{About, Findings, View};

/// The variable that decides where one of our own services listens.
const PORT_VARIABLE: &str = "PORT";
/// What our own services speak among themselves.
const OWN_SCHEME: &str = "http";
const OWN_DEFAULT_PORT: u16 = 80;
/// Stands at the end of an address whose port is not known. No value holds it.
const UNKNOWN_PORT: char = '\u{1}';

pub(super) fn check(view: &View<'_>, findings: &mut Findings) {
    for stack in &view.stacks {
        for deployment in &stack.deployments {
            let Some(contract) = view.contract(deployment) else { continue };
            for setting in &deployment.settings {
                if !setting.is_judged
                    && contract.variable(&setting.name).is_some_and(|variable| variable.value_type.is_url())
                {
                    address(view, stack, deployment, setting, findings);
                }
            }
        }
    }
}

fn address(view: &View<'_>, stack: &Stack, from: &Deployment, setting: &Setting, findings: &mut Findings) {
    let kept = references_kept(&setting.value);
    // A port that nobody knows yet is no number; what stands before it can be judged.
    let text = if Url::parse(&kept).is_ok() { kept } else { without_unknown_port(&kept) };
    let is_port_known = !text.ends_with(UNKNOWN_PORT);
    let Ok(url) = Url::parse(text.trim_end_matches(UNKNOWN_PORT)) else { return };
    // What holds a dot, a colon or a part that nobody knows yet lies outside the stack, unless the stack has that very name.
    let is_known = stack.deployments.iter().any(|deployment| deployment.answers_to(url.host));
    if url.host.contains(['.', ':', '$']) && !url.host.starts_with("127.") && !is_known {
        return;
    }
    let about = About { place: &setting.place, service: &from.name, variable: &setting.name };
    let subject = format!("{} of {}", setting.name, from.name);
    if url.host == "localhost" || url.host.starts_with("127.") {
        let message = format!("{subject} points at its own container");
        findings.add("unreachable-address", &about, message, "name the service that is meant");
        return;
    }
    if stack.outside.contains(url.host) || from.hosts.contains(url.host) {
        return;
    }
    let named = stack.deployments.iter().find(|deployment| deployment.name == url.host);
    let Some(target) = named.or_else(|| stack.deployments.iter().find(|deployment| deployment.answers_to(url.host)))
    else {
        let names = stack.deployments.iter().map(|deployment| deployment.name.as_str());
        let message = format!(
            "{subject} names the host `{}`, which is not a service of the stack{}",
            url.host,
            hint(url.host, names)
        );
        findings.add("unreachable-address", &about, message, "correct the host");
        return;
    };
    if from.networks.is_disjoint(&target.networks) {
        let message = format!("{subject} names {}, which shares no network with {}", target.name, from.name);
        let next = "put both on a network of their own; in Kubernetes, allow the flow in a NetworkPolicy at both ends";
        findings.add("unreachable-address", &about, message, next);
    }
    if view
        .clusters
        .iter()
        .flat_map(|cluster| cluster.pairs())
        .any(|(container, one)| !container.resolves_names && one == from)
    {
        let message = format!("{subject} has a name in it, and no NetworkPolicy lets {} ask a name server", from.name);
        findings.add("unreachable-address", &about, message, "allow it to reach the cluster's DNS");
    }
    let (scheme, ports) = listening(view, target);
    let ports = target.reached_on.clone().unwrap_or(ports);
    if let Some(scheme) = scheme
        && url.scheme != scheme
    {
        let message = format!("{subject} speaks {} to {}, which speaks {scheme}", url.scheme, target.name);
        findings.add("unreachable-address", &about, message, format!("begin the URL with {scheme}://"));
    }
    let port =
        url.port.unwrap_or(if url.scheme == OWN_SCHEME { OWN_DEFAULT_PORT } else { *ports.first().unwrap_or(&0) });
    if is_port_known && !ports.is_empty() && !ports.contains(&port) {
        let listed = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
        let message = format!("{subject} asks {} on port {port}; it listens on {listed}", target.name);
        findings.add("unreachable-address", &about, message, "correct the port");
    }
    login(view, target, &url, &about, &subject, findings);
}

/// The scheme and the ports that a container answers on, where that is known.
pub(super) fn listening(view: &View<'_>, target: &Deployment) -> (Option<String>, Vec<u16>) {
    if let Some(contract) = view.own_contract(target) {
        let set = target.setting(PORT_VARIABLE).map(|setting| setting.value.fill(&|_| None, "").text);
        let default = contract.variable(PORT_VARIABLE).and_then(|variable| variable.default.clone());
        let port = set.or(default).and_then(|port| port.parse().ok());
        return (Some(OWN_SCHEME.to_owned()), port.into_iter().collect());
    }
    match view.foreign_image(target) {
        Some((image, _)) => (Some(image.scheme.clone()), image.ports.clone()),
        None => (None, Vec::new()),
    }
}

/// The user, the password and the database of a URL must be those that the database is made with.
fn login(
    view: &View<'_>,
    target: &Deployment,
    url: &Url<'_>,
    about: &About<'_>,
    subject: &str,
    findings: &mut Findings,
) {
    let Some((image, contract)) = view.foreign_image(target) else { return };
    let given = |name: &str| {
        let set = target.setting(name).map(|setting| references_kept(&setting.value));
        set.or_else(|| contract.variable(name).and_then(|variable| variable.default.clone()))
    };
    let user = given(&image.login.user);
    // Without a name of its own the database is called after its user.
    let database = given(&image.login.database).or_else(|| user.clone());
    let path = url.path.trim_start_matches('/').split('?').next().unwrap_or_default();
    for (what, variable, here, there) in [
        ("login", &image.login.user, Some(url.user), user),
        ("database", &image.login.database, Some(path), database),
        ("password", &image.login.password, url.password, given(&image.login.password)),
    ] {
        // A password from a file cannot be compared; that it is there is another rule's business.
        let Some(there) = there else { continue };
        if here != Some(there.as_str()) {
            let message = format!("{subject} logs in to {} with another {what} than its {variable} says", target.name);
            findings.add("database-mismatch", about, message, "make the two agree");
        }
    }
}

/// `http://user:${PORT}/x` as `http://user`, with a mark at its end.
fn without_unknown_port(text: &str) -> String {
    let authority = text.find("://").map_or(0, |at| at + 3);
    let Some(colon) = text[authority..].find(":${").map(|at| authority + at) else { return text.to_owned() };
    format!("{}{UNKNOWN_PORT}", &text[..colon])
}

/// The value with `${NAME}` in place of each reference that must be set, so that two values can be compared without
/// knowing them.
fn references_kept(value: &Template) -> String {
    let names: BTreeSet<_> = value.references().iter().map(|reference| reference.name.clone()).collect();
    value.fill(&|name| names.contains(name).then(|| format!("${{{name}}}")), "").text
}
