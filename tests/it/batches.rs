//! Batches that their receiver confirms, in any order: receipts cover what is confirmed without a
//! gap, what is dropped comes again, and what is out is bounded.

use std::collections::{HashSet, VecDeque};
use std::io::{self, Read, Write};
use std::iter;
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use uds_ipc::{Batch, Batches, Delivery, FlushLevel, Reader, ReaderBuilder, Writer};

use crate::support::acts::panic_quietly;
use crate::support::{
    Notes, PATIENCE, Place, SHORT, connect, finish, finish_with_receipts, frame, numbered,
    read_to_end, receipt, send_all, wait_until,
};

const ASK: &[u8] = &[0];

/// The first frame of a connection that delivers at least once.
const OPENING: &[u8] = &[0x80, 0x00];

/// As many of a connection are out at most.
const MOST_OUT: usize = 8;

fn batching_reader(place: &Place) -> (Reader, Batches) {
    batching_reader_with(place, |builder| builder)
}

fn batching_reader_with(
    place: &Place,
    set: impl FnOnce(ReaderBuilder) -> ReaderBuilder,
) -> (Reader, Batches) {
    let builder = set(Reader::builder(place.socket()));
    builder.bind().unwrap().start_batches().unwrap()
}

/// What a connection that rests too long is closed after.
const IDLE: Duration = Duration::from_millis(300);

fn writer(place: &Place, delivery: Delivery) -> Writer {
    let builder = Writer::builder(place.socket()).delivery(delivery);
    let builder = builder.backoff_max(Duration::from_millis(20));
    builder.start().unwrap()
}

/// Sends short messages and a long one, until all are handled; returns them.
fn send_many(place: &Place, delivery: Delivery) -> Vec<Vec<u8>> {
    let mut sent = numbered(50_000);
    sent.push(vec![b'x'; 1_000_000]);
    let writer = writer(place, delivery);
    send_all(&writer, &sent);
    writer.flush(FlushLevel::Handled, PATIENCE).unwrap();
    match delivery {
        Delivery::AtLeastOnce => finish_with_receipts(&writer),
        Delivery::AtMostOnce | _ => finish(&writer),
    }
    sent
}

fn messages(batch: &Batch) -> Vec<Vec<u8>> {
    let messages: Vec<_> = batch.messages().map(<[u8]>::to_vec).collect();
    assert_eq!(batch.messages().len(), messages.len());
    messages
}

/// Sends each text as a message with a question behind it, and waits until it is a batch of its
/// own.
fn out(stream: &mut UnixStream, batches: &Batches, texts: &[&str]) -> Vec<Batch> {
    let send = |text: &&str| {
        let frames = [&frame(text.as_bytes())[..], ASK].concat();
        stream.write_all(&frames).unwrap();
        let batch = batches.recv().unwrap();
        assert_eq!(messages(&batch), [text.as_bytes()]);
        batch
    };
    texts.iter().map(send).collect()
}

/// A peer that delivers at least once, and has had the answer to its opening.
fn opened(place: &Place) -> UnixStream {
    let mut stream = connect(&place.socket());
    stream.write_all(OPENING).unwrap();
    assert_eq!(receipt(&mut stream), 0);
    stream
}

/// What of the stream is there, without a wait. It must be open.
#[track_caller]
fn unread(stream: &mut UnixStream) -> Vec<u8> {
    stream.set_nonblocking(true).unwrap();
    let mut bytes = [0; 64];
    let len = match stream.read(&mut bytes) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
        read => {
            let len = read.unwrap();
            assert_ne!(len, 0, "it is closed");
            len
        }
    };
    stream.set_nonblocking(false).unwrap();
    bytes[..len].to_vec()
}

#[test]
fn receipts_cover_what_is_confirmed_without_a_gap_in_whatever_order() {
    let place = Place::new();
    let (reader, batches) = batching_reader(&place);
    let mut stream = opened(&place);
    let [first, second, third, fourth] = out(&mut stream, &batches, &["1", "2", "3", "4"])
        .try_into()
        .unwrap();
    third.done();
    second.done();
    assert!(unread(&mut stream).is_empty(), "the first is not confirmed");
    // From another thread, which sends the receipt itself.
    thread::spawn(move || first.done()).join().unwrap();
    assert_eq!(unread(&mut stream), [3], "one answers all questions so far");
    // Asked again, behind what is out.
    stream.write_all(ASK).unwrap();
    fourth.done();
    assert_eq!(receipt(&mut stream), 4);
    stream.shutdown(Shutdown::Write).unwrap();
    // Both questions may have been answered at once.
    let rest = read_to_end(&mut stream);
    assert!(rest.is_empty() || rest == [4], "{rest:?}");
    assert_eq!(reader.shutdown(PATIENCE).unwrap().cut, 0);
}

#[test]
fn what_came_before_a_batch_that_is_dropped_is_confirmed_and_what_came_behind_is_void() {
    let place = Place::new();
    let (reader, batches) = batching_reader(&place);
    let mut stream = opened(&place);
    let [first, second, third] = out(&mut stream, &batches, &["1", "2", "3"])
        .try_into()
        .unwrap();
    // In the queue, and nobody has it yet.
    stream.write_all(&frame(b"4")).unwrap();
    wait_until("it is read", || reader.metrics().received.messages == 4);
    drop(second);
    third.done();
    assert!(
        unread(&mut stream).is_empty(),
        "the first may be confirmed yet"
    );
    first.done();
    assert_eq!(receipt(&mut stream), 1);
    wait_until("it is closed", || reader.metrics().open == 0);
    assert!(batches.try_recv().is_none(), "what comes again is skipped");
    let report = reader.shutdown(PATIENCE).unwrap();
    assert_eq!(report.metrics.handler_errors, 1, "one was dropped");
}

#[test]
fn a_message_too_long_is_refused_once_what_is_before_it_is_confirmed() {
    let place = Place::new();
    let (reader, batches) = batching_reader_with(&place, |builder| builder.max_message_len(10));
    let mut stream = opened(&place);
    let batches = out(&mut stream, &batches, &["1", "2"]);
    stream.write_all(&frame(b"longer than ten")).unwrap();
    assert!(unread(&mut stream).is_empty());
    batches.into_iter().rev().for_each(Batch::done);
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    assert_eq!(bytes.last_chunk(), Some(&[0x82, 0x00]), "{bytes:?}");
    let report = reader.shutdown(PATIENCE).unwrap();
    assert_eq!(report.metrics.protocol_errors.too_large, 1);
}

#[test]
fn a_connection_with_too_many_batches_out_waits_for_one_and_is_not_idle() {
    let place = Place::new();
    let (reader, batches) = batching_reader_with(&place, |builder| builder.idle_timeout(IDLE));
    let mut stream = connect(&place.socket());
    let texts = ["message"; MOST_OUT];
    let mut held = VecDeque::from(out(&mut stream, &batches, &texts));
    // The beginning of a frame as well: the peer cannot help that it is not read.
    let more = [&frame(b"more")[..], &frame(b"half")[..2]].concat();
    stream.write_all(&more).unwrap();
    let other = Writer::start(place.socket()).unwrap();
    for _ in 0..140 {
        // Longer than the idle timeout, with another connection that is served meanwhile.
        other.try_send("other").unwrap();
        thread::park_timeout(Duration::from_millis(5));
        let batch = batches.recv().unwrap();
        assert_ne!(batch.peer(), held[0].peer());
        batch.done();
    }
    finish(&other);
    assert!(unread(&mut stream).is_empty());
    held.pop_back().unwrap().done();
    let next = batches.recv().unwrap();
    assert_eq!(messages(&next), [b"more"]);
    stream.write_all(&frame(b"half")[2..]).unwrap();
    held.pop_back().unwrap().done();
    assert_eq!(messages(&batches.recv().unwrap()), [b"half"]);
    drop((held, next));
    let _ = reader.shutdown(PATIENCE).unwrap();
}

/// Its socket takes no receipt any more, so that nothing tells the reader to look at it.
#[test]
fn a_peer_that_reads_no_receipts_is_idle_once_its_batches_are_settled() {
    let place = Place::new();
    let (reader, batches) = batching_reader_with(&place, |builder| builder.idle_timeout(IDLE));
    let mut stream = connect(&place.socket());
    for _ in 0..400 {
        out(&mut stream, &batches, &["1"])
            .into_iter()
            .for_each(Batch::done);
    }
    let held = out(&mut stream, &batches, &["2"; MOST_OUT]);
    // Until the turn is over that brought the last one.
    thread::park_timeout(Duration::from_millis(50));
    held.into_iter().for_each(Batch::done);
    wait_until("it is closed", || reader.metrics().open == 0);
    let _ = reader.shutdown(PATIENCE).unwrap();
}

#[test]
fn a_peer_that_has_gone_is_let_go_when_the_last_batch_is_settled() {
    let place = Place::new();
    let (reader, batches) = batching_reader(&place);
    let mut stream = connect(&place.socket());
    let held = out(&mut stream, &batches, &["1", "2"]);
    drop(stream);
    // Without a receipt nobody learns of it; it is told all the same.
    let [first, second] = held.try_into().unwrap();
    first.done();
    assert_eq!(reader.metrics().open, 1);
    drop(second);
    wait_until("the connection ends", || reader.metrics().open == 0);
    let report = reader.shutdown(PATIENCE).unwrap();
    assert_eq!(report.metrics.handler_errors, 1);
}

#[test]
fn a_shutdown_waits_for_what_is_out_and_cuts_it_when_time_is_over() {
    let place = Place::new();
    let (reader, batches) = batching_reader(&place);
    let mut stream = opened(&place);
    let held = out(&mut stream, &batches, &["1"; MOST_OUT]);
    stream.write_all(&frame(b"unread")).unwrap();
    let report = reader.shutdown(Duration::from_millis(20)).unwrap();
    assert_eq!(report.cut, 1);
    // Too late, and no harm.
    held.into_iter().for_each(Batch::done);
    assert!(batches.recv().is_none());
    assert!(read_to_end(&mut stream).is_empty());
}

#[test]
fn in_a_stop_a_connection_is_read_on_as_its_batches_are_settled() {
    let place = Place::new();
    let (reader, batches) = batching_reader(&place);
    let mut stream = connect(&place.socket());
    let mut held = out(&mut stream, &batches, &["1"; MOST_OUT]);
    stream.write_all(&frame(b"more")).unwrap();
    let stop = thread::spawn(move || reader.shutdown(PATIENCE).unwrap());
    wait_until("nothing more can be sent", || {
        stream.write_all(ASK).is_err()
    });
    held.pop().unwrap().done();
    let more = batches.recv().unwrap();
    assert_eq!(messages(&more), [b"more"]);
    more.done();
    held.into_iter().for_each(Batch::done);
    assert_eq!(stop.join().unwrap().cut, 0);
}

#[test]
fn over_tcp_what_is_confirmed_late_in_a_stop_does_not_come_again() {
    let bound = Reader::builder("tcp:127.0.0.1:0").bind().unwrap();
    let (reader, batches) = bound.start_batches().unwrap();
    let address = reader.address().clone();
    // Far less than the receiver takes.
    let writer = Writer::builder(&address)
        .delivery(Delivery::AtLeastOnce)
        .write_timeout(Duration::from_millis(10))
        .start()
        .unwrap();
    send_all(&writer, &numbered(10));
    let (mut held, mut count) = (Vec::new(), 0);
    while count < 10 {
        let batch = batches.recv().unwrap();
        count += batch.messages().len();
        held.push(batch);
    }
    let stop = thread::spawn(move || reader.shutdown(PATIENCE).unwrap());
    let to = (Ipv4Addr::LOCALHOST, address.port().unwrap());
    wait_until("nobody listens", || TcpStream::connect(to).is_err());
    let late = writer.flush(FlushLevel::Handled, 20 * SHORT);
    assert!(late.is_err(), "it is confirmed already");
    held.into_iter().for_each(Batch::done);
    assert_eq!(stop.join().unwrap().cut, 0);
    let report = writer.shutdown(PATIENCE).unwrap();
    let (confirmed, resent) = (report.metrics.confirmed, report.metrics.resent);
    assert_eq!((confirmed.messages, resent.messages), (10, 0));
}

#[test]
fn an_observer_hears_of_a_batch_that_is_dropped() {
    let place = Place::new();
    let events = Notes::new();
    let (reader, batches) =
        batching_reader_with(&place, |builder| builder.on_event(events.observer()));
    let mut stream = connect(&place.socket());
    // Without a question and a receipt: it is lost, and the connection goes on.
    stream.write_all(&frame(b"1")).unwrap();
    drop(batches.recv().unwrap());
    events.wait_for("HandlerFailed");
    stream.write_all(&frame(b"2")).unwrap();
    let next = batches.recv().unwrap();
    assert_eq!(
        (messages(&next), next.peer().connection),
        (vec![b"2".to_vec()], 1)
    );
    next.done();
    let _ = reader.shutdown(PATIENCE).unwrap();
}

/// Confirms batches in an order drawn at random, and drops some; what is stored at the end is all
/// that was sent.
#[test]
fn whatever_the_order_and_whatever_is_dropped_nothing_that_is_confirmed_is_lost() {
    const MESSAGES: usize = 30_000;
    let place = Place::new();
    let (reader, batches) = batching_reader(&place);
    let writer = writer(&place, Delivery::AtLeastOnce);
    let store = thread::spawn(move || {
        let mut random = fastrand::Rng::with_seed(15);
        let (mut stored, mut held) = (HashSet::new(), Vec::new());
        loop {
            // Those that are held would hold up their connection.
            let next = if held.is_empty() {
                batches.recv()
            } else {
                batches.try_recv()
            };
            match next {
                Some(batch) => held.push(batch),
                None if held.is_empty() => break,
                None => {
                    let batch = held.swap_remove(random.usize(..held.len()));
                    if random.u8(0..10) > 0 {
                        stored.extend(messages(&batch));
                        batch.done();
                    }
                }
            }
        }
        stored
    });
    let sent = numbered(MESSAGES);
    for part in sent.chunks(500) {
        send_all(&writer, part);
        writer.flush(FlushLevel::Written, PATIENCE).unwrap();
    }
    finish_with_receipts(&writer);
    let _ = reader.shutdown(PATIENCE).unwrap();
    let stored = store.join().unwrap();
    assert!(sent.iter().all(|message| stored.contains(message)));
    assert_eq!(stored.len(), MESSAGES);
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
        let sent = send_many(&place, delivery);
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
    // From another thread, and later: until then nothing is confirmed.
    assert_eq!(writer.metrics().confirmed.messages, 0);
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
    // A connection that is given up leaves what it took in its reader's socket.
    let writer = Writer::builder(place.socket()).write_timeout(PATIENCE);
    let writer = writer.start().unwrap();
    let message = vec![b'x'; 10_000];
    wait_until("the queue is full", || {
        writer.try_send(message.as_slice()).is_err()
    });
    let accepted = writer.metrics().accepted.messages;
    // The batches that are out, the socket's buffer, and the queue.
    assert!(accepted < 7_300, "{accepted} messages");
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

/// At the bound nothing more is read, nobody is taken for idle, and all of it comes in the end.
#[test]
fn all_connections_together_have_a_bounded_memory_out() {
    const MOST_BYTES: usize = 64 << 20;
    const PEERS: usize = 90;
    const SECOND: Duration = Duration::from_secs(1);
    let place = Place::new();
    let (reader, batches) = batching_reader_with(&place, |builder| builder.idle_timeout(SECOND));
    let message = frame(&vec![b'x'; 100_000]);
    let start = Instant::now();
    // Each sends until nobody takes anything for a while. Its first message comes with it.
    let mut peers: Vec<_> = (0..PEERS)
        .map(|_| {
            let mut stream = connect(&place.socket());
            stream.write_all(&message).unwrap();
            stream.set_nonblocking(true).unwrap();
            (stream, Vec::new())
        })
        .collect();
    let (mut held, mut bytes, mut sent) = (Vec::new(), 0, PEERS);
    let mut last = Instant::now();
    while bytes < MOST_BYTES / 3 || last.elapsed() < Duration::from_millis(300) {
        assert!(start.elapsed() < PATIENCE, "{bytes} bytes came");
        for (stream, rest) in &mut peers {
            if rest.is_empty() {
                rest.clone_from(&message);
            }
            if let Ok(len) = stream.write(rest) {
                rest.drain(..len);
                sent += usize::from(rest.is_empty());
                last = Instant::now();
            }
        }
        for batch in iter::from_fn(|| batches.try_recv()) {
            bytes += batch.messages().map(<[u8]>::len).sum::<usize>();
            held.push(batch);
        }
        thread::yield_now();
    }
    assert!(bytes < MOST_BYTES + (4 << 20), "{bytes}");
    // One that has nothing out itself waits as well.
    let mut late = connect(&place.socket());
    late.write_all(&frame(b"late")).unwrap();
    let all = u64::try_from(PEERS + 1).unwrap();
    wait_until("it is let in", || reader.metrics().connections == all);
    thread::park_timeout(2 * SECOND);
    assert!(batches.try_recv().is_none());
    assert_eq!(reader.metrics().open, all, "what they sent is not read");
    late.write_all(&frame(b"later")).unwrap();
    // What is confirmed makes room for the rest.
    let mut came = 0;
    while came < sent + 2 {
        let batch = held.pop().or_else(|| batches.recv()).unwrap();
        came += batch.messages().len();
        batch.done();
    }
    assert_eq!(came, sent + 2);
    drop((peers, late));
    let _ = reader.shutdown(PATIENCE).unwrap();
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

#[test]
fn a_handler_is_lent_whole_batches_in_order() {
    for delivery in [Delivery::AtMostOnce, Delivery::AtLeastOnce] {
        let place = Place::new();
        let stored = Arc::new(Mutex::new(Vec::new()));
        let store = Arc::clone(&stored);
        let bound = Reader::builder(place.socket()).bind().unwrap();
        let reader = bound.start_batch_handler(move |batch: &Batch| {
            assert!(batch.messages().len() > 0);
            assert_eq!(batch.peer().connection, 1);
            store.lock().unwrap().extend(messages(batch));
        });
        let reader = reader.unwrap();
        let sent = send_many(&place, delivery);
        let report = reader.shutdown(PATIENCE).unwrap();
        assert_eq!((report.cut, report.metrics.panics), (0, 0));
        assert!(*stored.lock().unwrap() == sent);
    }
}

#[test]
fn a_batch_on_which_its_handler_fails_is_not_stored() {
    let place = Place::new();
    let (events, calls, stored) = (Notes::new(), AtomicUsize::new(0), Notes::new());
    let builder = Reader::builder(place.socket()).on_event(events.observer());
    let noted = stored.clone();
    let handler = move |batch: &Batch| match calls.fetch_add(1, Ordering::SeqCst) {
        0 => Err("on purpose"),
        1 => panic_quietly(),
        _ => {
            for message in messages(batch) {
                noted.add(message);
            }
            Ok(())
        }
    };
    let reader = builder
        .bind()
        .unwrap()
        .start_batch_handler(handler)
        .unwrap();
    // It sends all of them again, until they are stored.
    let writer = writer(&place, Delivery::AtLeastOnce);
    let sent = numbered(100);
    send_all(&writer, &sent);
    finish_with_receipts(&writer);
    assert_eq!(stored.all(), sent);
    let report = reader.shutdown(PATIENCE).unwrap();
    let figures = report.metrics;
    assert_eq!((figures.handler_errors, figures.panics), (1, 1));
    events.wait_for("HandlerFailed");
}
