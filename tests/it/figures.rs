//! What the `metrics` crate is given, in the words of a real exporter.

use std::collections::BTreeSet;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusBuilder;
use uds_ipc::metrics::{Exposition, Publisher};

use crate::support::{Collector, Place, finish, wait_until, writer, writer_with};

/// The lines with figures.
fn figures(page: &str) -> BTreeSet<&str> {
    page.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect()
}

/// What is said of families: the exporter has its own order, and its own kinds of gauges.
fn help(page: &str) -> BTreeSet<&str> {
    page.lines().filter(|line| line.starts_with('#')).collect()
}

#[test]
fn an_exporter_shows_the_figures_that_the_page_shows() {
    let place = Place::new();
    let collector = Collector::start(&place.socket());
    let (writer, _) = writer(&place.socket());
    let recorder = PrometheusBuilder::new().build_recorder();
    let mut publishers = [
        writer.publisher("logs"),
        collector.reader.publisher("ingest"),
    ];
    let mut publish = || {
        metrics::with_local_recorder(&recorder, || {
            publishers.iter_mut().for_each(Publisher::publish);
        });
        recorder.handle().render()
    };
    for round in 1..=3 {
        writer.try_send("a message").unwrap();
        let _ = writer.try_send("");
        wait_until("it is there", || collector.messages.len() == round);
        // They may move between the two looks, until all is counted.
        wait_until("both show the same", || {
            let (writer, reader) = (writer.metrics(), collector.reader.metrics());
            let mut page = Exposition::default();
            page.writer("logs", &writer).reader("ingest", &reader);
            let (page, exported) = (page.to_string(), publish());
            assert_eq!(help(&exported), help(&page));
            figures(&exported) == figures(&page)
        });
    }
    finish(&writer);
    collector.stop();
}

/// A counter that is set, and not added to, would stand still until the second writer had more.
#[test]
fn publishers_of_one_name_sum_up() {
    let place = Place::new();
    let recorder = PrometheusBuilder::new().build_recorder();
    for count in [17, 12] {
        let (writer, _) = writer_with(&place.socket(), |builder| builder);
        let mut publisher = writer.publisher("logs");
        for _ in 0..count {
            writer.try_send("a message").unwrap();
            metrics::with_local_recorder(&recorder, || publisher.publish());
        }
        let _ = writer.shutdown(Duration::ZERO).unwrap();
    }
    let page = recorder.handle().render();
    let sum = "uds_ipc_writer_accepted_messages_total{name=\"logs\"} 29\n";
    assert!(page.contains(sum), "{page}");
}
