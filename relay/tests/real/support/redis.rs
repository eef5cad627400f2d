//! A redis-server with an append-only file, and what is in its streams.

use std::net::TcpStream;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use redis::Commands;
use redis::streams::StreamRangeReply;
use tempfile::TempDir;

use super::process::Process;
use super::producer::Found;
use super::{free_port, wait_for};

pub(crate) struct Redis {
    folder: TempDir,
    pub(crate) port: u16,
    process: Option<Process>,
    more: Vec<String>,
}

impl Redis {
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    pub(crate) fn with(more: &[&str]) -> Self {
        let mut redis = Self {
            folder: tempfile::tempdir().unwrap(),
            port: free_port(),
            process: None,
            more: more.iter().map(|text| (*text).to_owned()).collect(),
        };
        redis.restart();
        redis
    }

    pub(crate) fn restart(&mut self) {
        let mut command = Command::new("redis-server");
        command
            .args(["--bind", "127.0.0.1", "--port"])
            .arg(self.port.to_string());
        command
            .args([
                "--appendonly",
                "yes",
                "--appendfsync",
                "always",
                "--save",
                "",
                "--dir",
            ])
            .arg(self.folder.path());
        command.args(&self.more).stdout(Stdio::null());
        self.process = Some(Process::start(&mut command));
        wait_for("redis-server", || {
            TcpStream::connect(("127.0.0.1", self.port)).is_ok()
        });
        self.process.as_mut().unwrap().assert_lives();
    }

    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.as_ref().unwrap().signal(signal);
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn connection(&self) -> redis::Connection {
        let client = redis::Client::open(self.url()).unwrap();
        client.get_connection().unwrap()
    }

    /// Whether the streams have what was sent.
    pub(crate) fn compare(&self, sent: &[(String, u64)]) -> Result<u64, String> {
        let mut connection = self.connection();
        let mut found = Found::default();
        for (name, _) in sent {
            let mut from = "-".to_owned();
            loop {
                let key = format!("messages:{name}");
                let page: StreamRangeReply =
                    connection.xrange_count(&key, &from, "+", 10_000).unwrap();
                for entry in &page.ids {
                    let number = entry.id.strip_suffix("-0").unwrap().parse().unwrap();
                    let body: Vec<u8> = entry.get("message").unwrap();
                    found.look(name, number, &body);
                }
                let Some(last) = page.ids.last() else {
                    break;
                };
                from = format!("({}", last.id);
            }
        }
        found.compare(sent)
    }
}
