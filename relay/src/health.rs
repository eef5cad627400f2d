//! How the relay is, for those who ask over HTTP: `/health`, and `/metrics` for Prometheus.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tracing::{debug, info, warn};
use uds_ipc::metrics::Publisher;

/// How often the log tells of what happens often.
pub(crate) const SELDOM: Duration = Duration::from_secs(10);

/// Whether the engine answers.
pub(crate) struct Health {
    engine: Mutex<Engine>,
    /// Producers.
    blocked: AtomicUsize,
}

enum Engine {
    Reachable {
        answered: Instant,
    },
    Unreachable {
        since: Instant,
        why: String,
        /// It answers, and stores nothing.
        is_refusing: bool,
        /// When the log told of it.
        told: Option<Instant>,
    },
}

impl Health {
    /// Nothing is known yet.
    pub(crate) fn new(now: Instant) -> Self {
        let why = "it was not asked yet".to_owned();
        Self {
            engine: Mutex::new(Engine::Unreachable {
                since: now,
                why,
                is_refusing: false,
                told: None,
            }),
            blocked: AtomicUsize::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Engine> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The engine has answered. Where it refused to store, that says nothing.
    pub(crate) fn reached(&self, now: Instant) {
        let mut engine = self.lock();
        if let Engine::Unreachable { is_refusing, .. } = &*engine
            && *is_refusing
        {
            return;
        }
        Self::is_well(&mut engine, now);
    }

    /// The engine has stored what it was sent, or nothing is to be stored.
    pub(crate) fn stored(&self, now: Instant) {
        Self::is_well(&mut self.lock(), now);
    }

    /// The engine is there, and refused to store: only [`stored`](Self::stored) ends that.
    pub(crate) fn refused(&self, error: &str, now: Instant) {
        self.failed(error, now);
        if let Engine::Unreachable { is_refusing, .. } = &mut *self.lock() {
            *is_refusing = true;
        }
    }

    fn is_well(engine: &mut Engine, now: Instant) {
        if let Engine::Unreachable { since, .. } = engine {
            let seconds = now.duration_since(*since).as_secs_f64();
            info!(seconds, "stream reachable");
        }
        *engine = Engine::Reachable { answered: now };
    }

    /// So many producers are blocked.
    pub(crate) fn blocked(&self, count: usize) {
        self.blocked.store(count, Ordering::Relaxed);
    }

    /// It did not answer, or is not fit. Told in the log once until it answers again, and seldom
    /// when there is another reason.
    pub(crate) fn failed(&self, error: &str, now: Instant) {
        let mut engine = self.lock();
        match &mut *engine {
            Engine::Reachable { answered } => {
                warn!(error, "stream unreachable");
                let (since, why) = (*answered, error.to_owned());
                *engine = Engine::Unreachable {
                    since,
                    why,
                    is_refusing: false,
                    told: Some(now),
                };
            }
            Engine::Unreachable { why, told, .. } => {
                if why != error {
                    error.clone_into(why);
                    if told.is_none_or(|told| now.duration_since(told) >= SELDOM) {
                        info!(error, "stream still unreachable");
                        *told = Some(now);
                    }
                }
            }
        }
    }

    pub(crate) fn is_reachable(&self) -> bool {
        matches!(*self.lock(), Engine::Reachable { .. })
    }

    /// In a line.
    pub(crate) fn text(&self, now: Instant) -> String {
        match &*self.lock() {
            Engine::Reachable { .. } => {
                let text = "collector up, stream reachable";
                match self.blocked.load(Ordering::Relaxed) {
                    0 => text.to_owned(),
                    blocked => format!("{text}, producers blocked: {blocked}"),
                }
            }
            Engine::Unreachable { since, why, .. } => {
                let seconds = now.duration_since(*since).as_secs();
                format!("collector up, stream unreachable for {seconds} s: {why}")
            }
        }
    }
}

/// How many are answered at once; others wait.
const PLACES: usize = 16;

/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The most bytes of a request.
const LONGEST_REQUEST: usize = 16 * 1024;

/// Answers until the process ends: one request a connection.
pub(crate) async fn serve(
    listener: TcpListener,
    health: Arc<Health>,
    figures: PrometheusHandle,
    reader: Publisher,
) -> io::Result<()> {
    let pages = Arc::new(Pages {
        health,
        figures,
        reader: Mutex::new(reader),
    });
    let places = Arc::new(Semaphore::new(PLACES));
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, perhaps: that passes.
                warn!(%error, "the page takes no connection");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let pages = Arc::clone(&pages);
        tokio::spawn(async move {
            let answered = tokio::time::timeout(PATIENCE, pages.answer(stream)).await;
            debug!(?answered, "asked over HTTP");
            drop(place);
        });
    }
}

struct Pages {
    health: Arc<Health>,
    figures: PrometheusHandle,
    reader: Mutex<Publisher>,
}

impl Pages {
    async fn answer(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
        let mut request = Vec::new();
        while !request.windows(4).any(|end| end == b"\r\n\r\n") {
            if request.len() > LONGEST_REQUEST || stream.read_buf(&mut request).await? == 0 {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        let first = request.split(|byte| *byte == b'\r').next();
        let (status, text) = match first.unwrap_or_default() {
            line if line.starts_with(b"GET /health HTTP/1.") => self.asked(),
            line if line.starts_with(b"GET /metrics HTTP/1.") => ("200 OK", self.scraped()),
            _ => ("404 Not Found", String::new()),
        };
        let kind = "Content-Type: text/plain; version=0.0.4";
        let head = format!(
            "HTTP/1.1 {status}\r\n{kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            text.len()
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(text.as_bytes()).await?;
        stream.shutdown().await
    }

    fn asked(&self) -> (&'static str, String) {
        let status = if self.health.is_reachable() {
            "200 OK"
        } else {
            "503 Service Unavailable"
        };
        (status, self.health.text(crate::now()) + "\n")
    }

    fn scraped(&self) -> String {
        let reader = self.reader.lock();
        reader.unwrap_or_else(PoisonError::into_inner).publish();
        self.figures.render()
    }
}
