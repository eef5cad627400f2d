//! Sending: what is accepted, what is refused and given back, and what the bounds hold.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use uds_ipc::{Delivery, EncodeError, FlushLevel, Overflow, SendError, Writer};

use crate::support::{
    Collector, Over, PATIENCE, Place, RawReader, SHORT, assert_balanced, finish, frame, numbered,
    read_messages, read_to_end, unframe, wait_until, writer, writer_with,
};

/// A writer that nobody will ever read from.
fn unconnected(
    place: &Place,
    set: impl FnOnce(uds_ipc::WriterBuilder) -> uds_ipc::WriterBuilder,
) -> Writer {
    set(Writer::builder(place.path("nobody"))).start().unwrap()
}

#[test]
fn every_kind_of_message_arrives_as_the_frames_of_the_contract() {
    let raw = RawReader::new();
    let (writer, _) = writer(raw.path());
    let text = String::from("text");
    let bytes = b"vector".to_vec();
    writer.try_send("a").unwrap();
    writer.try_send(b"array").unwrap();
    writer.try_send(&b"slice"[..]).unwrap();
    writer.try_send(&text).unwrap();
    writer.try_send(&bytes).unwrap();
    writer.try_send(text).unwrap();
    writer.try_send(bytes).unwrap();
    writer.try_send(Bytes::from_static(b"bytes")).unwrap();
    writer.try_send(vec![b'b'; 3].into_boxed_slice()).unwrap();
    let mut stream = raw.accept();
    finish(&writer);
    let expected = [
        "a", "array", "slice", "text", "vector", "text", "vector", "bytes", "bbb",
    ];
    assert_eq!(
        read_to_end(&mut stream),
        expected.map(|message| frame(message.as_bytes())).concat()
    );
}

#[test]
fn lengths_around_every_change_of_prefix_and_path_arrive() {
    let place = Place::new();
    let collector = Collector::start(&place.socket());
    let (writer, _) = writer(&place.socket());
    let lens = [
        1,
        127,
        128,
        16_383,
        16_384,
        32_767,
        32_768,
        32_769,
        120 << 10,
        (120 << 10) + 1,
        131_071,
        131_072,
        262_145,
        10 << 20,
    ];
    let messages: Vec<_> = lens
        .iter()
        .map(|len| vec![u8::try_from(len % 251).unwrap(); *len])
        .collect();
    for message in &messages {
        writer.send_timeout(message, PATIENCE).unwrap();
        writer.send_timeout(message.clone(), PATIENCE).unwrap();
        writer
            .send_timeout_with(|buffer| buffer.extend_from_slice(message), PATIENCE)
            .unwrap();
    }
    finish(&writer);
    let expected: Vec<_> = messages
        .iter()
        .flat_map(|message| vec![message.clone(); 3])
        .collect();
    let received = collector.wait_for(expected.len());
    assert!(
        received == expected,
        "{:?}",
        received.iter().map(Vec::len).collect::<Vec<_>>()
    );
    collector.stop();
}

#[test]
fn an_empty_message_is_refused_and_counted() {
    let raw = RawReader::new();
    let (writer, _) = writer(raw.path());
    assert_eq!(writer.try_send(""), Err(SendError::Empty(())));
    let refused = writer.send_timeout(Vec::new(), SHORT);
    assert_eq!(refused, Err(SendError::Empty(Vec::new())));
    assert_eq!(
        writer.try_send_with(|_| ()),
        Err(EncodeError::Send(SendError::Empty(())))
    );
    writer.try_send("one").unwrap();
    let mut stream = raw.accept();
    finish(&writer);
    assert_eq!(read_to_end(&mut stream), frame(b"one"));
    let metrics = writer.metrics();
    assert_eq!(metrics.accepted.messages, 1);
    assert_eq!(metrics.dropped.empty.messages, 3);
    assert_eq!(writer.try_send(""), Err(SendError::Closed(())));
}

#[test]
fn the_queue_is_bounded_in_messages() {
    let place = Place::new();
    let writer = unconnected(&place, |builder| builder.max_queued_messages(10));
    for message in numbered(10) {
        writer.try_send(message).unwrap();
    }
    assert_eq!(
        writer.try_send(b"11").map_err(SendError::into_message),
        Err(())
    );
    let refused = writer.try_send(String::from("owned")).unwrap_err();
    assert!(matches!(refused, SendError::Full(_)));
    assert_eq!(refused.into_message(), "owned");
    let large = Bytes::from(vec![1; 100_000]);
    assert_eq!(
        writer.try_send(large.clone()).unwrap_err().into_message(),
        large
    );
    assert!(matches!(writer.try_send(&large), Err(SendError::Full(()))));
    assert_eq!(
        writer.try_send_with(|buffer| buffer.push(1)),
        Err(EncodeError::Send(SendError::Full(())))
    );
    let metrics = writer.metrics();
    assert_eq!(
        (metrics.queued.messages, metrics.accepted.messages),
        (10, 10)
    );
    assert_eq!(metrics.dropped.full.messages, 5);
    assert_eq!(metrics.dropped.full.bytes, 2 + 5 + 100_000 + 100_000 + 1);
    assert_balanced(&writer);
}

#[test]
fn the_queue_is_bounded_in_bytes_whatever_the_messages() {
    let place = Place::new();
    let writer = unconnected(&place, |builder| {
        builder
            .max_queued_bytes(1_000_000)
            .max_queued_messages(usize::MAX)
    });
    for (number, len) in [1, 100, 5_000, 40_000, 200_000]
        .into_iter()
        .cycle()
        .enumerate()
    {
        let full = match number % 3 {
            0 => writer.try_send(&vec![0; len]).is_err(),
            1 => writer.try_send(vec![0; len]).is_err(),
            _ => writer
                .try_send_with(|buffer| buffer.resize(len, 0))
                .is_err(),
        };
        if full {
            break;
        }
    }
    let queued = writer.metrics().queued;
    assert!(
        queued.bytes <= 1_000_000 && queued.bytes > 700_000,
        "{queued:?}"
    );
    // Filled to the last byte, and then not one more.
    writer
        .try_send(vec![0; usize::try_from(1_000_000 - queued.bytes).unwrap()])
        .unwrap();
    assert!(matches!(writer.try_send("x"), Err(SendError::Full(()))));
    assert_balanced(&writer);
}

#[test]
fn a_message_above_the_limit_is_refused_at_once_with_both_numbers() {
    let place = Place::new();
    let writer = unconnected(&place, |builder| builder.max_message_len(1000));
    writer.try_send(&[1; 1000]).unwrap();
    let error = writer.try_send(vec![7; 1001]).unwrap_err();
    assert!(matches!(
        error,
        SendError::TooLarge {
            len: 1001,
            limit: 1000,
            ..
        }
    ));
    assert!(
        error.to_string().contains("1001") && error.to_string().contains("1000"),
        "{error}"
    );
    assert_eq!(error.into_message(), vec![7; 1001]);
    assert!(matches!(
        writer.try_send_with(|buffer| buffer.resize(1001, 0)),
        Err(EncodeError::Send(SendError::TooLarge { .. }))
    ));
    assert!(matches!(
        writer.send_timeout(&[0; 1001], PATIENCE),
        Err(SendError::TooLarge { .. })
    ));
    assert_eq!(writer.metrics().dropped.too_large.messages, 3);
    let smaller = unconnected(&place, |builder| builder.max_queued_bytes(500));
    assert!(matches!(
        smaller.try_send(&[0; 501]),
        Err(SendError::TooLarge { limit: 500, .. })
    ));
}

#[test]
fn after_shutdown_a_message_comes_back_and_is_counted() {
    let place = Place::new();
    let writer = unconnected(&place, |builder| builder);
    let _ = writer.shutdown(Duration::ZERO).unwrap();
    assert_eq!(
        writer
            .try_send(String::from("late"))
            .unwrap_err()
            .into_message(),
        "late"
    );
    assert!(matches!(
        writer.send_timeout("late", PATIENCE),
        Err(SendError::Closed(()))
    ));
    assert_eq!(
        writer.try_send_with(|buffer| buffer.push(1)),
        Err(EncodeError::Send(SendError::Closed(())))
    );
    assert_eq!(writer.metrics().dropped.closed.messages, 3);
    assert_balanced(&writer);
}

#[test]
fn the_oldest_make_room_where_that_was_asked_for() {
    let place = Place::new();
    let messages = numbered(1_000);
    let (writer, _) = writer_with(&place.socket(), |builder| {
        builder
            .max_queued_messages(100)
            .overflow(Overflow::DropOldest)
    });
    for message in &messages {
        writer.try_send(message).unwrap();
    }
    let metrics = writer.metrics();
    assert_eq!(
        (metrics.queued.messages, metrics.dropped.oldest.messages),
        (100, 900)
    );
    let collector = Collector::start(&place.socket());
    finish(&writer);
    assert_eq!(collector.stop(), messages[900..]);
}

#[test]
fn the_oldest_make_room_also_while_a_reader_does_not_read() {
    let raw = RawReader::new();
    let (writer, _) = writer_with(raw.path(), |builder| {
        builder
            .max_queued_messages(50)
            .overflow(Overflow::DropOldest)
            .send_buffer_size(4096)
            .write_timeout(PATIENCE)
    });
    let mut stream = raw.accept();
    let messages: Vec<_> = numbered(2_000)
        .into_iter()
        .map(|text| [text, vec![b'.'; 500]].concat())
        .collect();
    for message in &messages {
        // Only what is being written at this moment cannot make room.
        while writer.try_send(message).is_err() {
            thread::yield_now();
        }
    }
    assert!(writer.metrics().queued.messages <= 50);
    let reading = thread::spawn(move || read_to_end(&mut stream));
    finish(&writer);
    let (received, half) = unframe(&reading.join().unwrap());
    assert!(half.is_empty());
    assert_eq!(
        received.last(),
        messages.last(),
        "the newest is never dropped"
    );
    let mut rest = messages.iter();
    assert!(
        received
            .iter()
            .all(|message| rest.any(|sent| sent == message)),
        "in order, and none twice"
    );
    let metrics = writer.metrics();
    assert_eq!(
        metrics.sent.messages + metrics.dropped.oldest.messages,
        2_000
    );
    assert!(metrics.dropped.oldest.messages > 0);
}

#[test]
fn an_encoder_sends_one_message_or_nothing_and_its_error_comes_back() {
    let place = Place::new();
    let collector = Collector::start(&place.socket());
    let (writer, _) = writer(&place.socket());
    writer
        .try_send_with(|buffer| write!(buffer, "requests:{}|c", 17))
        .unwrap();
    let failed = writer.try_send_with(|buffer| {
        buffer.extend_from_slice(b"half of it");
        Err("the encoder's own")
    });
    assert_eq!(failed, Err(EncodeError::Encoder("the encoder's own")));
    // Encoders inside encoders, and one that panics, leave the others' bytes alone.
    writer
        .try_send_with(|outer| {
            outer.extend_from_slice(b"outer");
            writer
                .try_send_with(|inner| inner.extend_from_slice(b"inner"))
                .unwrap();
        })
        .unwrap();
    let panicked = thread::scope(|scope| {
        scope
            .spawn(|| writer.try_send_with(|_| -> () { panic!("on purpose") }))
            .join()
    });
    assert!(panicked.is_err());
    for len in [1, 16_383, 16_384, 65_536, 300_000] {
        writer
            .try_send_with(|buffer| {
                assert!(buffer.is_empty() && buffer.capacity() <= 65_536);
                buffer.resize(len, 7);
            })
            .unwrap();
    }
    finish(&writer);
    let mut expected = [&b"requests:17|c"[..], b"inner", b"outer"]
        .map(<[u8]>::to_vec)
        .to_vec();
    expected.extend([1, 16_383, 16_384, 65_536, 300_000].map(|len| vec![7; len]));
    assert!(collector.stop() == expected);
}

#[test]
fn send_timeout_waits_for_room_and_no_longer() {
    let place = Place::new();
    let writer = Arc::new(unconnected(&place, |builder| {
        builder.max_queued_messages(1)
    }));
    writer.try_send("first").unwrap();
    let refused = writer
        .send_timeout(String::from("second"), SHORT)
        .unwrap_err();
    assert!(matches!(&refused, SendError::Full(message) if message == "second"));
    let waiting = {
        let writer = Arc::clone(&writer);
        thread::spawn(move || writer.send_timeout(vec![2; 50_000], Duration::MAX))
    };
    let collector = Collector::start(&place.path("nobody"));
    waiting.join().unwrap().unwrap();
    finish(&writer);
    assert_eq!(collector.stop(), [b"first".to_vec(), vec![2; 50_000]]);
}

#[test]
fn what_an_encoder_wrote_waits_for_room_and_no_longer() {
    let place = Place::new();
    let writer = unconnected(&place, |builder| builder.max_queued_messages(1));
    writer.try_send("first").unwrap();
    let second = |buffer: &mut Vec<u8>| buffer.extend_from_slice(b"second");
    assert_eq!(
        writer.send_timeout_with(second, SHORT),
        Err(EncodeError::Send(SendError::Full(())))
    );
    let collector = Collector::start(&place.path("nobody"));
    writer.send_timeout_with(second, PATIENCE).unwrap();
    finish(&writer);
    assert_eq!(collector.stop(), [b"first".to_vec(), b"second".to_vec()]);
}

#[test]
fn a_shutdown_ends_the_wait_for_room() {
    let place = Place::new();
    let writer = Arc::new(unconnected(&place, |builder| {
        builder.max_queued_messages(1)
    }));
    writer.try_send("first").unwrap();
    let waiting = {
        let writer = Arc::clone(&writer);
        thread::spawn(move || writer.send_timeout("second", Duration::MAX))
    };
    let report = writer.shutdown(SHORT).unwrap();
    assert!(matches!(
        waiting.join().unwrap(),
        Err(SendError::Closed(()))
    ));
    assert_eq!(report.left.messages, 1);
}

#[test]
fn each_thread_keeps_its_order_among_eight() {
    const PER_THREAD: usize = 20_000;
    let place = Place::new();
    let collector = Collector::start(&place.socket());
    let (writer, _) = writer(&place.socket());
    thread::scope(|scope| {
        for thread in 0..8 {
            let writer = &writer;
            scope.spawn(move || {
                for number in 0..PER_THREAD {
                    // Now and then one that is longer than what a lane takes at once, or at all.
                    let padding = match number % 1_000 {
                        0 => 17_000,
                        250 => 40_000,
                        500 => 110_000,
                        750 => 125_000,
                        _ => 0,
                    };
                    let message = format!("{thread} {number} {}", " ".repeat(padding));
                    match (number + number / 250) % 3 {
                        0 => writer.send_timeout(&message, PATIENCE).unwrap(),
                        1 => writer.send_timeout(message, PATIENCE).unwrap(),
                        _ => writer
                            .send_timeout_with(
                                |buffer| buffer.extend_from_slice(message.as_bytes()),
                                PATIENCE,
                            )
                            .unwrap(),
                    }
                }
            });
        }
    });
    finish(&writer);
    let mut next = [0; 8];
    for message in collector.stop() {
        let text = String::from_utf8(message).unwrap();
        let mut words = text.split_ascii_whitespace();
        let [thread, number]: [usize; 2] =
            [words.next(), words.next()].map(|word| word.unwrap().parse().unwrap());
        assert_eq!(number, next[thread]);
        next[thread] += 1;
    }
    assert_eq!(next, [PER_THREAD; 8]);
}

/// Copied into the lane or not: it is as much as a full block.
#[test]
fn a_long_message_ends_the_wait_for_others() {
    let raw = RawReader::new();
    let builder = Writer::builder(raw.path()).linger(Duration::MAX);
    let writer = builder.start().unwrap();
    let mut stream = raw.accept();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut arrives = |message: &[u8]| {
        let mut got = vec![0; frame(message).len()];
        stream.read_exact(&mut got).unwrap();
        assert!(got == frame(message));
    };
    writer.try_send("then the thread waits for others").unwrap();
    arrives(b"then the thread waits for others");
    for len in [40_000, 60_000, 80_000, 100_000] {
        let message = vec![7; len];
        writer.try_send(&message).unwrap();
        arrives(&message);
        writer.try_send(message.clone()).unwrap();
        arrives(&message);
    }
    finish(&writer);
}

/// One sender that waits for room, so that it writes itself, with everything that needs the thread
/// beside it.
#[test]
fn a_sender_that_waits_for_room_loses_nothing_and_leaves_room_for_others() {
    const COUNT: u32 = 100_000;
    for delivery in [Delivery::AtMostOnce, Delivery::AtLeastOnce] {
        let place = Place::new();
        let collector = Collector::start(&place.socket());
        let (writer, _) = writer_with(&place.socket(), |builder| {
            builder
                .max_queued_messages(500)
                .keepalive(Some(Duration::from_millis(1)))
                .delivery(delivery)
        });
        let has_accepted = AtomicBool::new(false);
        let count = thread::scope(|scope| {
            let sender = scope.spawn(|| {
                let mut count: u32 = 0;
                // A sender that does not wait may be refused, but never all the time.
                while count < COUNT || !has_accepted.load(Ordering::SeqCst) {
                    assert!(count < 100 * COUNT, "the other sender has no room");
                    writer.send_timeout(&count.to_be_bytes(), PATIENCE).unwrap();
                    count += 1;
                }
                count
            });
            scope.spawn(|| {
                for level in [FlushLevel::Written, FlushLevel::Handled]
                    .iter()
                    .cycle()
                    .take(200)
                {
                    writer.flush(*level, PATIENCE).unwrap();
                }
            });
            while !sender.is_finished() {
                if writer.try_send(&u32::MAX.to_be_bytes()).is_ok() {
                    has_accepted.store(true, Ordering::SeqCst);
                }
                thread::yield_now();
            }
            sender.join().unwrap()
        });
        writer.flush(FlushLevel::Handled, PATIENCE).unwrap();
        assert_eq!(writer.metrics().connects, 1);
        let _ = writer.shutdown(PATIENCE).unwrap();
        let received = collector.stop();
        let numbers = received
            .iter()
            .filter(|message| **message != u32::MAX.to_be_bytes());
        assert!(numbers.eq((0..count).map(u32::to_be_bytes).collect::<Vec<_>>().iter()));
    }
}

#[test]
fn a_peer_that_never_reads_does_not_block_a_sender_and_memory_stays_bounded() {
    let place = Place::new();
    let raw = RawReader::bind(&place.socket());
    let (writer, _) = writer_with(&place.socket(), |builder| {
        builder
            .max_queued_messages(100)
            .send_buffer_size(4096)
            .write_timeout(PATIENCE)
    });
    let stream = raw.accept();
    wait_until("the queue is full", || writer.try_send(&[7; 1000]).is_err());
    for _ in 0..10_000 {
        // It may still find a place or two, as the kernel takes the last it can.
        let _ = writer.try_send(&[7; 1000]);
    }
    assert!(writer.metrics().queued.messages <= 100);
    assert!(writer.metrics().dropped.full.messages > 0);
    drop(stream);
    let mut stream = raw.accept();
    let messages = read_messages(&mut stream, 50);
    assert_eq!(messages[0], vec![7; 1000]);
}

#[test]
fn a_builder_refuses_settings_that_cannot_work() {
    let place = Place::new();
    let builder = || Writer::builder(place.socket());
    for (broken, setting) in [
        (builder().max_queued_messages(0), "max_queued_messages"),
        (builder().max_queued_bytes(0), "max_queued_bytes"),
        (builder().max_message_len(0), "max_message_len"),
        (builder().write_timeout(Duration::ZERO), "write_timeout"),
        (builder().connect_timeout(Duration::ZERO), "connect_timeout"),
        (builder().backoff_min(Duration::ZERO), "backoff_min"),
        (builder().backoff_min(Duration::from_secs(2)), "backoff_max"),
        (builder().keepalive(Duration::ZERO), "keepalive"),
    ] {
        let error = broken.start().unwrap_err().to_string();
        assert!(
            error.contains(setting) && error.contains("must be"),
            "{error}"
        );
    }
}

#[test]
fn settings_beyond_any_memory_allocate_nothing_for_it() {
    let place = Place::new();
    let writer = unconnected(&place, |builder| {
        builder
            .max_queued_messages(usize::MAX)
            .max_queued_bytes(usize::MAX)
            .max_message_len(usize::MAX)
            .write_timeout(Duration::MAX)
            .connect_timeout(Duration::MAX)
            .backoff_max(Duration::MAX)
            .linger(Duration::MAX)
            .keepalive(Duration::MAX)
    });
    writer.try_send("one").unwrap();
    assert_eq!(writer.shutdown(Duration::ZERO).unwrap().left.messages, 1);
}

#[test]
fn hundreds_of_messages_go_out_with_each_system_call() {
    let place = Place::new();
    let writer = unconnected(&place, |builder| builder);
    for _ in 0..9_000 {
        writer.try_send(&[7; 20]).unwrap();
    }
    let collector = Collector::start(&place.path("nobody"));
    finish(&writer);
    assert!(
        writer.metrics().writes <= 9_000 / 200,
        "{:?}",
        writer.metrics()
    );
    assert_eq!(collector.stop().len(), 9_000);
}

#[test]
fn a_flush_ends_when_what_it_waits_for_was_dropped_to_make_room() {
    let place = Place::new();
    let writer = Arc::new(unconnected(&place, |builder| {
        builder
            .max_queued_messages(10)
            .overflow(Overflow::DropOldest)
    }));
    for message in numbered(10) {
        writer.try_send(message).unwrap();
    }
    let flushing = {
        let writer = Arc::clone(&writer);
        thread::spawn(move || writer.flush(FlushLevel::Written, Duration::MAX))
    };
    wait_until("all ten are gone", || {
        writer.try_send("newer").unwrap();
        writer.metrics().dropped.oldest.messages >= 10 && flushing.is_finished()
    });
    flushing.join().unwrap().unwrap();
    let _ = writer.shutdown(Duration::ZERO).unwrap();
}

#[test]
fn figures_are_read_while_threads_send() {
    const PER_THREAD: u64 = 20_000;
    let place = Place::new();
    let collector = Collector::start(&place.socket());
    let (writer, _) = writer(&place.socket());
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut before = writer.metrics();
                while !over.load(Ordering::SeqCst) {
                    let now = writer.metrics();
                    for (before, now) in [(before.accepted, now.accepted), (before.sent, now.sent)]
                    {
                        assert!(before.messages <= now.messages && before.bytes <= now.bytes);
                    }
                    before = now;
                }
            });
        }
        let _over = Over(&over);
        thread::scope(|senders| {
            for _ in 0..3 {
                senders.spawn(|| {
                    for number in 0..PER_THREAD {
                        writer
                            .send_timeout(&number.to_be_bytes(), PATIENCE)
                            .unwrap();
                    }
                });
            }
        });
        finish(&writer);
    });
    assert_eq!(writer.metrics().sent.messages, 3 * PER_THREAD);
    collector.stop();
}
