//! The figures as a page for Prometheus, in its text format.

use std::fmt;

use crate::metrics::figure::{self, Figure, Kind};
use crate::metrics::{ReaderMetrics, WriterMetrics};

/// A page of figures for Prometheus: its
/// [text format](https://prometheus.io/docs/instrumenting/exposition_formats/), version 0.0.4.
///
/// Its `Display` is the page. Each writer and each reader has a name, in the label `name`: give
/// those of one kind different ones. Names of figures begin with `uds_ipc_writer_` and
/// `uds_ipc_reader_`; counters end in `_total`.
///
/// ```
/// use uds_ipc::metrics::Exposition;
/// # let writer = uds_ipc::Writer::start("/tmp/nobody-is-there.sock")?;
///
/// let mut page = Exposition::default();
/// page.writer("logs", &writer.metrics());
/// let page = page.to_string();
/// assert!(page.contains("uds_ipc_writer_sent_messages_total{name=\"logs\"} 0\n"));
/// # let _ = writer.shutdown(std::time::Duration::ZERO)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Exposition {
    /// For each name its figures: the same families in the same order for all of a kind.
    writers: Vec<(String, Vec<Figure>)>,
    readers: Vec<(String, Vec<Figure>)>,
}

impl Exposition {
    /// The content type of the page, for the header of an HTTP answer.
    pub const CONTENT_TYPE: &'static str = "text/plain; version=0.0.4; charset=utf-8";

    /// Adds the figures of a writer.
    pub fn writer(&mut self, name: impl Into<String>, metrics: &WriterMetrics) -> &mut Self {
        let figures = figure::of_writer(metrics);
        self.writers.push((name.into(), figures));
        self
    }

    /// Adds the figures of a reader.
    pub fn reader(&mut self, name: impl Into<String>, metrics: &ReaderMetrics) -> &mut Self {
        let figures = figure::of_reader(metrics);
        self.readers.push((name.into(), figures));
        self
    }
}

impl fmt::Display for Exposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_families(f, &self.writers)?;
        write_families(f, &self.readers)
    }
}

/// A family stands together, whatever it is of.
fn write_families(f: &mut fmt::Formatter<'_>, named: &[(String, Vec<Figure>)]) -> fmt::Result {
    let Some((_, first)) = named.first() else {
        return Ok(());
    };
    for members in first.chunk_by(|one, next| one.family == next.family) {
        let Some(Figure { family, .. }) = members.first() else {
            continue;
        };
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        writeln!(f, "# HELP {} {}", family.name, family.help)?;
        writeln!(f, "# TYPE {} {kind}", family.name)?;
        for (name, figures) in named {
            for figure in figures.iter().filter(|figure| figure.family == *family) {
                write!(f, "{}{{name=\"{}\"", family.name, Escaped(name))?;
                if let Some(reason) = figure.reason {
                    write!(f, ",reason=\"{reason}\"")?;
                }
                writeln!(f, "}} {}", figure.value)?;
            }
        }
    }
    Ok(())
}

/// The value of a label.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|char| match char {
            '\\' => f.write_str("\\\\"),
            '"' => f.write_str("\\\""),
            '\n' => f.write_str("\\n"),
            other => write!(f, "{other}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_stands_together_with_the_figures_of_all_ends_in_it() {
        let mut writers = [WriterMetrics::default(); 2];
        writers[1].dropped.oldest.bytes = 7;
        let mut page = Exposition::default();
        page.writer("a", &writers[0])
            .writer("b\"\\\n", &writers[1])
            .reader("a", &ReaderMetrics::default());
        let page = page.to_string();
        let family: Vec<_> = page
            .lines()
            .filter(|line| line.contains("writer_dropped_bytes_total"))
            .collect();
        assert_eq!(family.len(), 12);
        assert!(family[0].starts_with("# HELP uds_ipc_writer_dropped_bytes_total "));
        assert_eq!(
            family[1],
            "# TYPE uds_ipc_writer_dropped_bytes_total counter"
        );
        assert_eq!(
            family[11],
            r#"uds_ipc_writer_dropped_bytes_total{name="b\"\\\n",reason="oldest"} 7"#
        );
        let at = page.find(family[0]).unwrap();
        assert!(page[at..].starts_with(&family.join("\n")), "in one piece");
        assert_eq!(
            page.lines()
                .filter(|line| line.starts_with("# TYPE"))
                .count(),
            21 + 13
        );
        assert!(page.contains("# TYPE uds_ipc_reader_open_connections gauge\n"));
    }
}
