//! How the relay is, for those who ask over HTTP: `/health`, and `/metrics` for Prometheus.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tracing::{info, warn};
use uds_ipc::metrics::Publisher;

/// Whether the engine answers.
pub(crate) struct Health {
    engine: Mutex<Engine>,
}

enum Engine {
    Reachable { answered: Instant },
    Unreachable { since: Instant, why: String },
}

impl Health {
    /// Nothing is known yet.
    pub(crate) fn new(now: Instant) -> Self {
        let why = "it was not asked yet".to_owned();
        Self {
            engine: Mutex::new(Engine::Unreachable { since: now, why }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Engine> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The engine has answered.
    pub(crate) fn reached(&self, now: Instant) {
        let mut engine = self.lock();
        if let Engine::Unreachable { since, .. } = &*engine {
            let seconds = now.duration_since(*since).as_secs_f64();
            info!(seconds, "stream reachable");
        }
        *engine = Engine::Reachable { answered: now };
    }

    /// It did not, or refused. Told in the log once, until it answers again.
    pub(crate) fn failed(&self, error: &str) {
        let mut engine = self.lock();
        match &mut *engine {
            Engine::Reachable { answered } => {
                warn!(error, "stream unreachable");
                let (since, why) = (*answered, error.to_owned());
                *engine = Engine::Unreachable { since, why };
            }
            Engine::Unreachable { why, .. } => {
                if why != error {
                    info!(error, "stream still unreachable");
                    error.clone_into(why);
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
            Engine::Reachable { .. } => "collector up, stream reachable".to_owned(),
            Engine::Unreachable { since, why } => {
                let seconds = now.duration_since(*since).as_secs();
                format!("collector up, stream unreachable for {seconds} s: {why}")
            }
        }
    }
}

/// Answers until the process ends.
pub(crate) async fn serve(
    listener: TcpListener,
    health: Arc<Health>,
    figures: PrometheusHandle,
    reader: Publisher,
) -> io::Result<()> {
    let reader = Arc::new(Mutex::new(reader));
    let asked = move || async move {
        let now = crate::now();
        let status = if health.is_reachable() {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        (status, health.text(now) + "\n")
    };
    let scraped = move || async move {
        reader
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .publish();
        let kind = "text/plain; version=0.0.4";
        ([(header::CONTENT_TYPE, kind)], figures.render())
    };
    let router = Router::new()
        .route("/health", get(asked))
        .route("/metrics", get(scraped));
    axum::serve(listener, router).await
}
