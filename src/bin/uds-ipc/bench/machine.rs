//! On which machine, and with which build, the figures were measured.
//! What the system does not tell stays out.

use std::fs;
use std::thread;

use nix::sys::utsname::uname;

#[derive(Debug)]
pub(super) struct Machine {
    pub(super) processors: usize,
    /// Of the processor.
    pub(super) model: Option<String>,
    /// The system's name, release and architecture.
    pub(super) kernel: String,
    /// How many wanted a processor in the last minute, before it began.
    pub(super) load: Option<f64>,
}

pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A debug build says nothing about speed.
pub(super) const BUILD: &str = if cfg!(debug_assertions) {
    "debug"
} else {
    "release"
};

impl Machine {
    pub(super) fn look() -> Self {
        let processor_info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Self {
            processors: thread::available_parallelism().map_or(1, usize::from),
            model: model_of(&processor_info),
            kernel: kernel(),
            load: load
                .split(' ')
                .next()
                .and_then(|minute| minute.parse().ok()),
        }
    }
}

fn kernel() -> String {
    let Ok(names) = uname() else {
        return "unknown".into();
    };
    let parts = [names.sysname(), names.release(), names.machine()];
    parts
        .map(|part| part.to_string_lossy().into_owned())
        .join(" ")
}

fn model_of(processor_info: &str) -> Option<String> {
    let mut lines = processor_info
        .lines()
        .filter_map(|line| line.split_once(':'));
    let (_, model) = lines.find(|(name, _)| name.trim_end() == "model name")?;
    Some(model.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_is_the_processors_name_and_not_its_number() {
        let info = "processor\t: 0\nmodel\t\t: 2\nmodel name\t: A: fast one\nflags\t: x\n";
        assert_eq!(model_of(info), Some("A: fast one".into()));
        assert_eq!(model_of("processor : 0\n"), None);
    }
}
