//! The figures for the `metrics` crate, whatever recorder a program has.

use std::collections::HashMap;

use metrics::{Label, counter, describe_counter, describe_gauge, gauge};

use crate::metrics::figure::{self, Figure, Kind};
use crate::metrics::{ReaderMetrics, WriterMetrics};

/// Hands the figures of one writer, or one reader, to the `metrics` crate: with the feature
/// `metrics`.
///
/// There is no thread behind it: call [`publish_writer`](Self::publish_writer) or
/// [`publish_reader`](Self::publish_reader) from a timer of the program's own, or before a scrape.
/// Have one for each writer and each reader: it adds what has come since its last call. Counters of
/// publishers with the same name add up; of their gauges the last one published stands, so give
/// them different names. The figures are those of an [`Exposition`](crate::metrics::Exposition).
///
/// ```
/// use uds_ipc::metrics::Publisher;
/// # let writer = uds_ipc::Writer::start("/tmp/nobody-is-there.sock")?;
///
/// let mut publisher = Publisher::new("logs");
/// // Now and then:
/// publisher.publish_writer(&writer.metrics());
/// # let _ = writer.shutdown(std::time::Duration::ZERO)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Publisher {
    name: String,
    published: HashMap<(&'static str, Option<&'static str>), u64>,
}

impl Publisher {
    /// A publisher whose figures have the label `name`.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            published: HashMap::new(),
        }
    }

    /// Publishes how a writer is doing.
    pub fn publish_writer(&mut self, metrics: &WriterMetrics) {
        self.publish(&figure::of_writer(metrics));
    }

    /// Publishes how a reader is doing.
    pub fn publish_reader(&mut self, metrics: &ReaderMetrics) {
        self.publish(&figure::of_reader(metrics));
    }

    fn publish(&mut self, figures: &[Figure]) {
        for figure in figures {
            let family = figure.family;
            let mut labels = vec![Label::new("name", self.name.clone())];
            labels.extend(figure.reason.map(|reason| Label::new("reason", reason)));
            let key = (family.name, figure.reason);
            let before = self.published.insert(key, figure.value);
            match family.kind {
                Kind::Counter => {
                    if before.is_none() {
                        describe_counter!(family.name, family.help);
                    }
                    let more = figure.value.saturating_sub(before.unwrap_or(0));
                    counter!(family.name, labels).increment(more);
                }
                Kind::Gauge => {
                    if before.is_none() {
                        describe_gauge!(family.name, family.help);
                    }
                    #[expect(
                        clippy::as_conversions,
                        clippy::cast_precision_loss,
                        reason = "a gauge is a float"
                    )]
                    gauge!(family.name, labels).set(figure.value as f64);
                }
            }
        }
    }
}
