//! The figures for the `metrics` crate, whatever recorder a program has.

use std::collections::HashMap;
use std::fmt;

use metrics::{Label, counter, describe_counter, describe_gauge, gauge};

use crate::metrics::figure::{self, Figure, Kind};
use crate::metrics::{ReaderMetrics, WriterMetrics};

/// Hands the figures of one writer, or one reader, to the `metrics` crate: with the feature
/// `metrics`. Made by [`Writer::publisher`](crate::Writer::publisher) and
/// [`Reader::publisher`](crate::Reader::publisher).
///
/// There is no thread behind it: call [`publish`](Self::publish) from a timer of the program's own,
/// or before a scrape. It adds what has come since its last call. Counters of publishers with the
/// same name add up; of their gauges the last one published stands, so give them different names.
/// The figures are those of an [`Exposition`](crate::metrics::Exposition).
///
/// ```
/// # let writer = uds_ipc::Writer::start("/tmp/nobody-is-there.sock")?;
/// let mut publisher = writer.publisher("logs");
/// // Now and then:
/// publisher.publish();
/// # let _ = writer.shutdown(std::time::Duration::ZERO)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Publisher {
    name: String,
    figures: Box<dyn Fn() -> Vec<Figure> + Send + Sync>,
    published: HashMap<(&'static str, Option<&'static str>), u64>,
}

impl Publisher {
    /// A publisher whose figures have the label `name`.
    pub(crate) fn of_writer(
        name: String,
        metrics: impl Fn() -> WriterMetrics + Send + Sync + 'static,
    ) -> Self {
        Self::new(name, move || figure::of_writer(&metrics()))
    }

    /// Likewise.
    pub(crate) fn of_reader(
        name: String,
        metrics: impl Fn() -> ReaderMetrics + Send + Sync + 'static,
    ) -> Self {
        Self::new(name, move || figure::of_reader(&metrics()))
    }

    fn new(name: String, figures: impl Fn() -> Vec<Figure> + Send + Sync + 'static) -> Self {
        Self {
            name,
            figures: Box::new(figures),
            published: HashMap::new(),
        }
    }

    /// Hands the figures to the recorder that is set for the program.
    pub fn publish(&mut self) {
        for figure in (self.figures)() {
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

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
