//! Where the time goes: processor time and memory of each process while something is measured.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use crate::process::{self, Memory};

const GENERATOR: &str = "generator";

/// A process to look at; without a number nothing is known of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watched {
    name: &'static str,
    pid: Option<u32>,
}

impl Watched {
    /// The load generator, which is this process. It is no part of what is measured.
    pub(super) fn generator() -> Self {
        Self::own(GENERATOR)
    }

    pub(super) const fn new(name: &'static str, pid: Option<u32>) -> Self {
        Self { name, pid }
    }

    /// This process.
    pub(super) fn own(name: &'static str) -> Self {
        Self::new(name, Some(std::process::id()))
    }

    fn cpu_time(&self) -> Result<Duration> {
        self.pid.map_or(Ok(Duration::ZERO), process::cpu_time)
    }

    fn memory(&self) -> Result<Memory> {
        self.pid.map_or(Ok(Memory::default()), process::memory)
    }
}

/// What the processes used up in all rounds.
#[derive(Debug, Default)]
pub(super) struct Costs {
    lines: Vec<Line>,
    events: f64,
}

#[derive(Debug)]
struct Line {
    process: &'static str,
    cpu: Duration,
    memory: Memory,
}

/// One process, as it is told.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Usage {
    pub(super) process: &'static str,
    /// Processor time, seconds, warm-up included.
    pub(super) cpu_s: f64,
    /// Milliseconds for 1,000 events; as many microseconds for one.
    pub(super) cpu_ms_per_1000_events: f64,
    pub(super) resident_mib: f64,
    pub(super) peak_mib: f64,
}

impl Costs {
    /// Does some work, which says for how many events it was, and counts what it cost.
    pub(super) fn of<T>(
        &mut self,
        processes: &[Watched],
        work: impl FnOnce() -> Result<(T, f64)>,
    ) -> Result<T> {
        let before = processes.iter().map(Watched::cpu_time).collect::<Result<Vec<_>>>()?;
        let (done, events) = work()?;
        self.events += events;
        for (watched, before) in processes.iter().zip(before) {
            let used = watched.cpu_time()?.saturating_sub(before);
            let memory = watched.memory()?;
            match self.lines.iter_mut().find(|line| line.process == watched.name) {
                Some(line) => (line.cpu, line.memory) = (line.cpu + used, memory),
                None => self.lines.push(Line { process: watched.name, cpu: used, memory }),
            }
        }
        Ok(done)
    }

    /// Processor time for an event: ours over the other's, generators left out. `None` if nothing
    /// is known of a process.
    pub(super) fn cpu_ratio(&self, other: &Self) -> Option<f64> {
        Some(self.cpu_per_event()? / other.cpu_per_event()?)
    }

    fn cpu_per_event(&self) -> Option<f64> {
        let lines = || self.lines.iter().filter(|line| line.process != GENERATOR);
        let known = lines().all(|line| !line.cpu.is_zero());
        let cpu: Duration = lines().map(|line| line.cpu).sum();
        known.then(|| cpu.as_secs_f64() / self.events.max(1.0))
    }

    pub(super) fn usages(&self) -> Vec<Usage> {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let usage = |line: &Line| Usage {
            process: line.process,
            cpu_s: line.cpu.as_secs_f64(),
            cpu_ms_per_1000_events: line.cpu.as_secs_f64() * 1e6 / self.events.max(1.0),
            resident_mib: mib(line.memory.resident),
            peak_mib: mib(line.memory.peak),
        };
        self.lines.iter().map(usage).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_add_up_and_an_unknown_process_costs_nothing() {
        let mut costs = Costs::default();
        let processes = [Watched::generator(), Watched::new("broker", None)];
        for _ in 0..2 {
            assert_eq!(costs.of(&processes, || Ok(("done", 500.0))).unwrap(), "done");
        }
        let usages = costs.usages();
        let names: Vec<_> = usages.iter().map(|usage| usage.process).collect();
        assert_eq!(names, ["generator", "broker"]);
        assert!(usages[0].resident_mib > 0.0);
        assert_eq!((usages[1].cpu_s, usages[1].resident_mib), (0.0, 0.0));
        assert_eq!(costs.events, 1_000.0);
        assert_eq!(costs.cpu_ratio(&costs), None);
    }
}
