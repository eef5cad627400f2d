//! The relay, as a process of its own.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::process::Process;
use super::{free_port, wait_for};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_uds-ipc-relay");

pub(crate) struct Relay {
    folder: TempDir,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    pub(crate) http: u16,
    pub(crate) process: Option<Process>,
}

impl Relay {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_with(arguments, &[])
    }

    pub(crate) fn start_with(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut relay = Self::unstarted(arguments, environment);
        relay.restart();
        relay
    }

    pub(crate) fn unstarted(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self {
            folder: tempfile::tempdir().unwrap(),
            arguments: arguments.iter().map(|text| (*text).to_owned()).collect(),
            environment: environment.iter().map(owned).collect(),
            http: free_port(),
            process: None,
        }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    /// Starts it; what was running must have ended.
    pub(crate) fn begin(&mut self) {
        let log = self.folder.path().join("log");
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(log)
            .unwrap();
        let mut command = Command::new(PROGRAM);
        command.arg("run").arg("--listen").arg(self.socket());
        command
            .arg("--http")
            .arg(format!("127.0.0.1:{}", self.http));
        command
            .args(&self.arguments)
            .envs(self.environment.iter().cloned());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        self.process = Some(Process::start(&mut command));
    }

    pub(crate) fn restart(&mut self) {
        self.begin();
        // Its figures are there a moment after the page is.
        wait_for("the relay", || {
            let page = self.get("/metrics");
            page.is_some_and(|page| page.contains("uds_ipc_relay_accepted_total"))
        });
        self.process.as_mut().unwrap().assert_lives();
    }

    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// A planned stop.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        let mut process = self.process.take().unwrap();
        process.signal(Signal::SIGTERM);
        process.wait()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// What it answers; `None` while nobody does.
    pub(crate) fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.http)).ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer.split_once("\r\n\r\n")?.1.to_owned())
    }

    /// A figure, with its labels as they are written.
    pub(crate) fn figure(&self, name: &str) -> u64 {
        let page = self.get("/metrics").unwrap();
        let prefix = format!("uds_ipc_relay_{name} ");
        let value = page.lines().find_map(|line| line.strip_prefix(&prefix));
        let value: f64 = value
            .unwrap_or_else(|| panic!("no {name} in {page}"))
            .parse()
            .unwrap();
        #[expect(
            clippy::as_conversions,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count"
        )]
        let value = value as u64;
        value
    }

    /// The sum of what became of accepted messages.
    pub(crate) fn settled(&self) -> u64 {
        [
            "acknowledged_total",
            "repeated_total",
            "left_out_total{reason=\"too_long\"}",
            "left_out_total{reason=\"unmarked\"}",
            "left_out_total{reason=\"out_of_order\"}",
        ]
        .iter()
        .map(|name| self.figure(name))
        .sum()
    }
}
