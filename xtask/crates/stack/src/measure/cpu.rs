//! Processor time, as the kernel counts it for a container's control group: of all its processes, also those that have ended.

use crate::readiness::ContainerState;

const NANOSECONDS_PER_MICROSECOND: u64 = 1000;

/// What a container has used since it was started; none when the engine runs on another machine.
pub(crate) fn used_nanoseconds(container: &ContainerState) -> Option<u64> {
    let read = |file: String| std::fs::read_to_string(file).ok();
    let groups = read(format!("/proc/{}/cgroup", container.pid))?;
    // The engine's number of the process is this kernel's only when its group carries the container's id.
    if container.id.is_empty() || !groups.contains(&container.id) {
        return None;
    }
    files(&groups).into_iter().find_map(|file| nanoseconds(&read(file)?))
}

/// Where the kernel has the figure: in the one hierarchy of today, or in the accounting hierarchy of before.
fn files(groups: &str) -> Vec<String> {
    let file = |line: &str| {
        let mut fields = line.splitn(3, ':');
        let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        if controllers.is_empty() {
            return Some(format!("/sys/fs/cgroup{path}/cpu.stat"));
        }
        let accounts = controllers.split(',').any(|controller| controller == "cpuacct");
        accounts.then(|| format!("/sys/fs/cgroup/{controllers}{path}/cpuacct.usage"))
    };
    groups.lines().filter_map(file).collect()
}

fn nanoseconds(text: &str) -> Option<u64> {
    let micros = text.lines().find_map(|line| line.strip_prefix("usage_usec ")?.parse::<u64>().ok());
    micros.map(|micros| micros * NANOSECONDS_PER_MICROSECOND).or_else(|| text.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_asked_where_it_counts() {
        assert_eq!(files("0::/system.slice/docker-1.scope\n"), ["/sys/fs/cgroup/system.slice/docker-1.scope/cpu.stat"]);
        let old = "4:memory:/docker/1\n2:cpu,cpuacct:/docker/1\n";
        assert_eq!(files(old), ["/sys/fs/cgroup/cpu,cpuacct/docker/1/cpuacct.usage"]);
    }

    #[test]
    fn both_forms_are_nanoseconds() {
        assert_eq!(nanoseconds("usage_usec 12\nuser_usec 5\n"), Some(12_000));
        assert_eq!((nanoseconds("12000\n"), nanoseconds("")), (Some(12_000), None));
    }

    #[test]
    fn another_process_is_never_taken_for_the_containers() {
        let pid = i64::from(std::process::id());
        let container = ContainerState { id: "0".repeat(64), pid, ..Default::default() };
        assert_eq!(used_nanoseconds(&container), None);
    }
}
