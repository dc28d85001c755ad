//! The ports that a stack publishes on this machine: taken ones are found before anything starts.

use std::net::{IpAddr, Ipv4Addr, TcpListener};

use anyhow::Result;
use serde_json::Value;
use xshell::{Shell, cmd};
use xtask_engine::Tool;
use xtask_outcome::Stop;
use xtask_workspace::Context;

use crate::Stack;

const QUERY_LIMIT_SECONDS: u64 = 60;
const HOLDER_FORMAT: &str = "{{.Names}}";

/// A port that a service publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Published {
    service: String,
    address: IpAddr,
    port: u16,
}

/// Every port of the stack has to be free, or be published by the stack itself.
///
/// # Errors
/// [`Stop::Absent`] names the port, who has it where that is known, and the variable that moves it.
pub(super) fn check(stack: &Stack<'_>, docker: &Tool) -> Result<()> {
    let context = stack.context;
    if !engine_is_here(context) {
        return Ok(());
    }
    let own: Vec<_> = stack.inspect()?.iter().flat_map(bound).collect();
    let mut taken = Vec::new();
    for published in published(&stack.model()?) {
        let is_free = || TcpListener::bind((published.address, published.port)).is_ok();
        if !own.contains(&published.port) && !is_free() {
            taken.push(described(context, docker, &published)?);
        }
    }
    if taken.is_empty() { Ok(()) } else { Err(Stop::Absent(taken.join("\n")).into()) }
}

/// What Compose says when a port was taken after all, in the words of [`check`].
pub(super) fn explain(context: &Context, stop: &Stop) -> Option<Stop> {
    let text = stop.to_string();
    let is_taken = ["port is already allocated", "address already in use", "ports are not available"]
        .iter()
        .any(|words| text.contains(words));
    is_taken.then(|| {
        let variable = &context.project.stack.entrance.variable;
        Stop::Absent(format!("a port of the stack is taken; next: set {variable} in .env to a free one\n{text}"))
    })
}

/// Whether a port of this machine is one of the engine's.
fn engine_is_here(context: &Context) -> bool {
    context.project.environment.engine.iter().all(|(name, value)| match *name {
        "DOCKER_HOST" => value.starts_with("unix://"),
        "DOCKER_CONTEXT" => value == "default",
        _ => true,
    })
}

/// The ports in Compose's model. One without a fixed number is the engine's to choose.
fn published(model: &Value) -> Vec<Published> {
    let mut found = Vec::new();
    for (service, settings) in model["services"].as_object().into_iter().flatten() {
        for port in settings["ports"].as_array().into_iter().flatten() {
            let number = port["published"].as_str().and_then(|text| text.parse().ok());
            let address = port["host_ip"].as_str().and_then(|text| text.parse().ok());
            let address = address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
            let is_tcp = port["protocol"].as_str().is_none_or(|protocol| protocol == "tcp");
            if let Some(port) = number.filter(|port| *port != 0 && is_tcp) {
                found.push(Published { service: service.clone(), address, port });
            }
        }
    }
    found
}

/// The ports of the host that a container holds.
fn bound(container: &Value) -> Vec<u16> {
    let ports = container.pointer("/NetworkSettings/Ports").and_then(Value::as_object);
    let bindings = ports.into_iter().flatten().flat_map(|(_, bindings)| bindings.as_array().into_iter().flatten());
    bindings.filter_map(|binding| binding["HostPort"].as_str()?.parse().ok()).collect()
}

fn described(context: &Context, docker: &Tool, published: &Published) -> Result<String> {
    let Published { service, address, port } = published;
    let (shell, docker, filter) = (Shell::new()?, &docker.program, format!("publish={port}"));
    let holder = context
        .runner
        .read(cmd!(shell, "{docker} ps --filter {filter} --format {HOLDER_FORMAT}"), QUERY_LIMIT_SECONDS)?;
    let holder = holder.lines().next().map_or_else(String::new, |name| format!(" by the container {name}"));
    let entrance = &context.project.stack.entrance;
    let (variable, file) = (&entrance.variable, &context.project.stack.file);
    let next = if *service == entrance.service {
        format!(
            "`echo {variable}={} >>.env`, or another free port",
            free_port(*address).unwrap_or_else(|| port.wrapping_add(1))
        )
    } else {
        format!("free it, or publish another one in {file}")
    };
    Ok(format!(
        "{address}:{port}, where {service} would answer, is taken{holder}, so nothing was started; next: {next}"
    ))
}

fn free_port(address: IpAddr) -> Option<u16> {
    Some(TcpListener::bind((address, 0)).ok()?.local_addr().ok()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fixed_ports_are_found_and_chosen_ones_left_to_the_engine() {
        let model = json!({ "services": {
            "door": { "ports": [{ "host_ip": "127.0.0.1", "published": "9000", "protocol": "tcp" }, { "published": "0" }, { "target": 1 }] },
            "names": { "ports": [{ "published": "53", "protocol": "udp" }] },
            "quiet": {},
        } });
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        assert_eq!(published(&model), [Published { service: "door".into(), address, port: 9000 }]);
        assert!(published(&Value::Null).is_empty());
    }

    #[test]
    fn what_a_container_holds_is_the_stacks_own() {
        let container = json!({ "NetworkSettings": { "Ports": { "80/tcp": [{ "HostIp": "127.0.0.1", "HostPort": "9000" }], "81/tcp": null } } });
        assert_eq!(bound(&container), [9000]);
        assert!(bound(&json!({})).is_empty());
    }
}
