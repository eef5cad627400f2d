//! Writers of the crate, and the books that they must keep.

use std::path::Path;

use uds_ipc::event::WriterEvent;
use uds_ipc::metrics::{Tally, WriterMetrics};
use uds_ipc::{Delivery, Writer, WriterBuilder};

use super::{Notes, PATIENCE};

/// A writer that notes its events.
pub(crate) fn writer(path: &Path) -> (Writer, Notes<String>) {
    writer_with(path, |builder| builder)
}

pub(crate) fn writer_with(
    path: &Path,
    set: impl FnOnce(WriterBuilder) -> WriterBuilder,
) -> (Writer, Notes<String>) {
    let events = Notes::new();
    let builder = Writer::builder(path).on_event(events.observer::<WriterEvent>());
    (set(builder).start().expect("a writer"), events)
}

/// Sends messages, and waits for room where there is none.
#[track_caller]
pub(crate) fn send_all(writer: &Writer, messages: &[Vec<u8>]) {
    for message in messages {
        writer.send_timeout(message, PATIENCE).unwrap();
    }
}

/// The equation that must hold at rest: every message that was accepted has ended one way, or
/// waits.
#[track_caller]
pub(crate) fn assert_balanced(writer: &Writer) {
    assert_sum(&writer.metrics(), |metrics| metrics.sent);
}

/// Likewise with delivery at least once, where only a receipt ends a message well.
#[track_caller]
pub(crate) fn assert_balanced_by_receipts(writer: &Writer) {
    assert_sum(&writer.metrics(), |metrics| metrics.confirmed);
}

#[track_caller]
fn assert_sum(metrics: &WriterMetrics, ended_well: impl Fn(&WriterMetrics) -> Tally) {
    let ended = ended_well(metrics) + metrics.dropped.oldest + metrics.failed.total();
    assert_eq!(metrics.accepted, ended + metrics.queued, "{metrics:#?}");
}

/// Shuts a writer down and checks that everything went out.
#[track_caller]
pub(crate) fn finish(writer: &Writer) {
    let report = writer.shutdown(PATIENCE).expect("not in a callback");
    assert_eq!(report.left.messages, 0, "{:#?}", report.metrics);
    assert_eq!(report.metrics.queued.messages, 0);
    assert_balanced(writer);
}

/// Likewise, and that receipts cover it.
#[track_caller]
pub(crate) fn finish_with_receipts(writer: &Writer) {
    let report = writer.shutdown(PATIENCE).expect("not in a callback");
    assert_eq!(report.left.messages, 0, "{:#?}", report.metrics);
    assert_eq!(report.metrics.queued.messages, 0);
    assert_balanced_by_receipts(writer);
}

/// Likewise, as the delivery has it.
#[track_caller]
pub(crate) fn finish_either(writer: &Writer, delivery: Delivery) {
    match delivery {
        Delivery::AtLeastOnce => finish_with_receipts(writer),
        Delivery::AtMostOnce | _ => finish(writer),
    }
}

/// Numbered messages, to see gaps, repeats and order.
pub(crate) fn numbered(count: usize) -> Vec<Vec<u8>> {
    (0..count)
        .map(|number| format!("message {number}").into_bytes())
        .collect()
}
