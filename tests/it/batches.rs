//! Batches that their receiver confirms: what is not confirmed comes again, and holds up the rest.

use std::collections::HashSet;
use std::thread;
use std::time::Duration;

use uds_ipc::{Batch, Batches, Delivery, FlushLevel, Reader, Writer};

use crate::support::{
    PATIENCE, Place, finish, finish_with_receipts, numbered, send_all, wait_until,
};

fn batching_reader(place: &Place) -> (Reader, Batches) {
    let bound = Reader::builder(place.socket()).bind().unwrap();
    bound.start_batches().unwrap()
}

fn writer(place: &Place, delivery: Delivery) -> Writer {
    let builder = Writer::builder(place.socket()).delivery(delivery);
    let builder = builder.backoff_max(Duration::from_millis(20));
    builder.start().unwrap()
}

fn messages(batch: &Batch) -> Vec<Vec<u8>> {
    let messages: Vec<_> = batch.messages().map(<[u8]>::to_vec).collect();
    assert_eq!(batch.messages().len(), messages.len());
    assert!(batch.messages().rev().eq(messages.iter().rev()));
    messages
}

#[test]
fn what_is_confirmed_batch_by_batch_comes_once_and_in_order() {
    for delivery in [Delivery::AtMostOnce, Delivery::AtLeastOnce] {
        let place = Place::new();
        let (reader, batches) = batching_reader(&place);
        let store = thread::spawn(move || {
            let mut stored = Vec::new();
            for batch in batches {
                assert_eq!(batch.peer().connection, 1);
                stored.extend(messages(&batch));
                batch.done();
            }
            stored
        });
        let sent: Vec<_> = numbered(50_000)
            .into_iter()
            .chain([vec![b'x'; 1_000_000]])
            .collect();
        let writer = writer(&place, delivery);
        send_all(&writer, &sent);
        writer.flush(FlushLevel::Handled, PATIENCE).unwrap();
        match delivery {
            Delivery::AtLeastOnce => finish_with_receipts(&writer),
            Delivery::AtMostOnce | _ => finish(&writer),
        }
        let report = reader.shutdown(PATIENCE).unwrap();
        assert_eq!((report.cut, report.metrics.handler_errors), (0, 0));
        assert!(store.join().unwrap() == sent);
    }
}

#[test]
fn a_batch_that_is_dropped_comes_again_and_one_that_is_kept_is_confirmed_late() {
    let place = Place::new();
    let (reader, batches) = batching_reader(&place);
    let writer = writer(&place, Delivery::AtLeastOnce);
    send_all(&writer, &numbered(1_000));
    let first = batches.recv().unwrap();
    let dropped = messages(&first);
    drop(first);
    let again = batches.recv().unwrap();
    assert_ne!(again.peer().connection, 1);
    assert_eq!(messages(&again)[0], dropped[0]);
    // From another thread, and later: until then nothing is confirmed, and nothing else comes.
    assert_eq!(writer.metrics().confirmed.messages, 0);
    assert!(batches.try_recv().is_none());
    let mut stored = messages(&again);
    thread::spawn(move || again.done()).join().unwrap();
    while stored.len() < 1_000 {
        let batch = batches.recv().unwrap();
        stored.extend(messages(&batch));
        batch.done();
    }
    assert!(stored == numbered(1_000));
    finish_with_receipts(&writer);
    assert_eq!(reader.shutdown(PATIENCE).unwrap().metrics.handler_errors, 1);
    assert!(batches.recv().is_none(), "that was the end");
}

#[test]
fn a_receiver_that_takes_nothing_holds_up_its_senders_and_no_memory_grows() {
    let place = Place::new();
    let (reader, batches) = batching_reader(&place);
    let writer = writer(&place, Delivery::AtMostOnce);
    let message = vec![b'x'; 10_000];
    wait_until("the queue is full", || {
        writer.try_send(message.as_slice()).is_err()
    });
    let accepted = writer.metrics().accepted.messages;
    // One batch, the socket's buffer, and the queue.
    assert!(accepted < 7_200, "{accepted} messages");
    let came = thread::spawn(move || {
        let batches = batches.into_iter();
        batches.fold(0, |sum, batch| {
            let count = batch.messages().len();
            batch.done();
            sum + count
        })
    });
    finish(&writer);
    let _ = reader.shutdown(PATIENCE).unwrap();
    assert_eq!(u64::try_from(came.join().unwrap()).unwrap(), accepted);
}

#[test]
fn connections_do_not_wait_for_each_others_batches() {
    let place = Place::new();
    let (reader, batches) = batching_reader(&place);
    let writers = [(); 3].map(|()| writer(&place, Delivery::AtLeastOnce));
    for writer in &writers {
        writer.try_send("one").unwrap();
    }
    let held: Vec<_> = writers.iter().map(|_| batches.recv().unwrap()).collect();
    let connections: HashSet<_> = held.iter().map(|batch| batch.peer().connection).collect();
    assert_eq!(connections.len(), 3);
    for (confirmed, batch) in held.into_iter().rev().enumerate() {
        let sum = || -> u64 {
            let metrics = writers.iter().map(Writer::metrics);
            metrics.map(|metrics| metrics.confirmed.messages).sum()
        };
        assert_eq!(sum(), u64::try_from(confirmed).unwrap());
        batch.done();
        wait_until("it is confirmed", || {
            sum() == u64::try_from(confirmed + 1).unwrap()
        });
    }
    writers.iter().for_each(finish_with_receipts);
    assert_eq!(reader.shutdown(PATIENCE).unwrap().cut, 0);
}

#[test]
fn without_a_receiver_nothing_is_stored() {
    let place = Place::new();
    let (reader, batches) = batching_reader(&place);
    let writer = writer(&place, Delivery::AtLeastOnce);
    writer.try_send("waits in the channel").unwrap();
    wait_until("it is there", || reader.metrics().connections == 1);
    drop(batches);
    wait_until("it is refused, again and again", || {
        reader.metrics().handler_errors > 2
    });
    assert_eq!(writer.metrics().confirmed.messages, 0);
    let _ = reader.shutdown(PATIENCE).unwrap();
    let report = writer.shutdown(Duration::ZERO).unwrap();
    assert_eq!(
        report.left.messages, 1,
        "it is kept for a reader that stores"
    );
}

#[cfg(feature = "async")]
mod stream {
    use futures_util::StreamExt;

    use super::*;

    const MESSAGES: usize = 20_000;

    async fn store(mut batches: Batches) -> Vec<Vec<u8>> {
        let mut stored = Vec::new();
        while let Some(batch) = batches.next().await {
            stored.extend(messages(&batch));
            batch.done();
        }
        stored
    }

    /// Whatever runs the stream.
    fn check(run: impl FnOnce(Batches) -> Vec<Vec<u8>>) {
        let place = Place::new();
        let (reader, batches) = batching_reader(&place);
        let writer = writer(&place, Delivery::AtLeastOnce);
        let sender = thread::spawn(move || {
            send_all(&writer, &numbered(MESSAGES));
            finish_with_receipts(&writer);
            assert_eq!(reader.shutdown(PATIENCE).unwrap().cut, 0);
        });
        assert!(run(batches) == numbered(MESSAGES));
        sender.join().unwrap();
    }

    #[test]
    fn every_runtime_gets_each_batch_once_and_the_end() {
        use tokio::runtime::Builder;
        check(|batches| {
            let runtime = Builder::new_current_thread().build().unwrap();
            runtime.block_on(store(batches))
        });
        check(|batches| {
            let runtime = Builder::new_multi_thread()
                .worker_threads(2)
                .build()
                .unwrap();
            let task = runtime.spawn(store(batches));
            runtime.block_on(task).unwrap()
        });
        check(|batches| smol::block_on(smol::spawn(store(batches))));
        check(|batches| futures_executor::block_on(store(batches)));
    }
}
