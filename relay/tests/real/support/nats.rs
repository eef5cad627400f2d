//! A nats-server with JetStream, a stream for the relay and others, and what is in it.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::pull::OrderedConfig;
use async_nats::jetstream::stream::{Config, StorageType};
use async_nats::jetstream::{self, Context};
use futures_util::StreamExt;
use nix::sys::signal::Signal;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::process::Process;
use super::producer::Found;
use super::{free_port, wait_for};

pub(crate) const STREAM: &str = "MESSAGES";

pub(crate) struct Nats {
    folder: TempDir,
    pub(crate) port: u16,
    pub(crate) process: Option<Process>,
}

impl Nats {
    pub(crate) fn start() -> Self {
        Self::with("")
    }

    /// With more lines for its configuration.
    pub(crate) fn with(more: &str) -> Self {
        let mut nats = Self {
            folder: tempfile::tempdir().unwrap(),
            port: free_port(),
            process: None,
        };
        nats.configure(more);
        nats.restart();
        nats
    }

    /// From its next start on.
    pub(crate) fn configure(&self, more: &str) {
        let (folder, port) = (self.folder.path(), self.port);
        let store = folder.join("store");
        let text = format!(
            "listen: \"127.0.0.1:{port}\"\njetstream {{ store_dir: \"{}\" }}\n{more}\n",
            store.display()
        );
        fs::write(folder.join("server.conf"), text).unwrap();
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    pub(crate) fn restart(&mut self) {
        self.begin();
        wait_for("nats-server", || {
            TcpStream::connect(("127.0.0.1", self.port)).is_ok()
        });
        self.process.as_mut().unwrap().assert_lives();
    }

    fn begin(&mut self) {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.log())
            .unwrap();
        let mut command = Command::new("nats-server");
        command
            .arg("-c")
            .arg(self.folder.path().join("server.conf"));
        command.stdout(Stdio::null()).stderr(log);
        self.process = Some(Process::start(&mut command));
    }

    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.as_ref().unwrap().signal(signal);
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// A stream for the relay, and for others at `foreign.>`.
    pub(crate) fn make_stream(&self) {
        self.make_stream_of(Config {
            name: STREAM.to_owned(),
            subjects: vec!["messages.>".to_owned(), "foreign.>".to_owned()],
            duplicate_window: Duration::from_secs(1),
            storage: StorageType::File,
            ..Config::default()
        });
    }

    pub(crate) fn make_stream_of(&self, config: Config) {
        self.ask(async |context| {
            context.create_stream(config).await.unwrap();
        });
    }

    pub(crate) fn ask<T>(&self, question: impl AsyncFnOnce(Context) -> T) -> T {
        let url = self.url();
        Runtime::new().unwrap().block_on(async {
            let client = async_nats::ConnectOptions::new().retry_on_initial_connect();
            question(jetstream::new(client.connect(url).await.unwrap())).await
        })
    }

    /// All that the stream has under `subjects`, in order: what follows a subject's first word, the
    /// number, the message.
    pub(crate) fn read(&self, subjects: &str, mut look: impl FnMut(&str, u64, &[u8])) {
        self.ask(async |context| read(&context, subjects, &mut look).await);
    }

    /// Whether the stream has what was sent, and nothing else.
    pub(crate) fn compare(&self, sent: &[(String, u64)]) -> Result<u64, String> {
        let mut found = Found::default();
        self.read("messages.>", |name, number, body| {
            found.look(name, number, body);
        });
        found.compare(sent)
    }
}

async fn read(context: &Context, subjects: &str, look: &mut impl FnMut(&str, u64, &[u8])) {
    let stream = context.get_stream(STREAM).await.unwrap();
    let config = OrderedConfig {
        filter_subject: subjects.to_owned(),
        deliver_policy: DeliverPolicy::All,
        ..OrderedConfig::default()
    };
    let mut consumer = stream.create_consumer(config).await.unwrap();
    if consumer.info().await.unwrap().num_pending == 0 {
        return;
    }
    let mut messages = consumer.messages().await.unwrap();
    while let Some(message) = messages.next().await {
        let message = message.unwrap();
        let (_, name) = message.subject.split_once('.').unwrap();
        let id = message
            .headers
            .as_ref()
            .and_then(|headers| headers.get("Nats-Msg-Id"));
        let number = id.map_or(0, |id| {
            id.as_str().rsplit_once('-').unwrap().1.parse().unwrap()
        });
        look(name, number, &message.payload);
        if message.info().unwrap().pending == 0 {
            break;
        }
    }
}
