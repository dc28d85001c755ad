//! What a program and the processes that it started have used, as the kernel counts it.

use std::fs::read_to_string;
use std::ops::Sub;

/// The kernel's unit of processor time for programs (`USER_HZ`), the same on every Linux.
const MICROSECONDS_PER_TICK: u64 = 10_000;

/// Processor time and memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cost {
    pub(super) cpu_microseconds: u64,
    /// A page that several processes share counts once.
    pub(super) memory_kilobytes: u64,
}

impl Cost {
    /// Of a process and its children.
    pub(super) fn of(process: u32) -> Self {
        let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let numbers = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let stats = numbers.filter_map(|number| Some((number, Stat::read(&read_to_string(stat_file(number)).ok()?)?)));
        let ours = stats.filter(|(number, stat)| *number == process || stat.parent == process);
        ours.fold(Self::default(), |sum, (number, stat)| Self {
            cpu_microseconds: sum.cpu_microseconds + stat.ticks * MICROSECONDS_PER_TICK,
            memory_kilobytes: sum.memory_kilobytes + proportional_kilobytes(number),
        })
    }
}

impl Sub for Cost {
    type Output = Self;

    /// What was used since; memory is a level, and stays what it is.
    fn sub(self, before: Self) -> Self {
        Self { cpu_microseconds: self.cpu_microseconds.saturating_sub(before.cpu_microseconds), ..self }
    }
}

fn stat_file(process: u32) -> String {
    format!("/proc/{process}/stat")
}

fn proportional_kilobytes(process: u32) -> u64 {
    let text = read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

/// What matters here of `/proc/PID/stat`.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    /// In the program and in the kernel for it.
    ticks: u64,
}

impl Stat {
    fn read(text: &str) -> Option<Self> {
        // The name stands in parentheses and may hold anything; what follows the last one has fixed places, from `state` on.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let at = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Self { parent: u32::try_from(at(1)?).ok()?, ticks: at(11)? + at(12)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_it_is_called() {
        let text = "42 (a) b (c) S 7 42 42 0 -1 4194304 100 0 0 0 30 12 5 6 20 0 1 0 100 1000 10 18446744073709551615";
        assert_eq!(Stat::read(text), Some(Stat { parent: 7, ticks: 42 }));
        assert_eq!(Stat::read("42 (a) S"), None);
    }

    #[test]
    fn this_very_process_uses_memory() {
        assert!(Cost::of(std::process::id()).memory_kilobytes > 100);
    }
}
