//! The reader and the wire: every stream of bytes, good, cut, padded, hostile or in pieces.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a helper may fail as a test may"
)]

use std::io::Write;
use std::net::Shutdown;
use std::path::Path;
use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;

use crate::support::{
    Collector, Place, RawReader, connect, finish, frame, is_closed, numbered, python, read_to_end,
    returns, send_and_close, skip, unframe, wait_until, writer,
};

const LIMIT: usize = 1_000;

fn collector(path: &Path) -> Collector {
    Collector::start_with(path, |builder| {
        builder.max_message_len(LIMIT).idle_timeout(Duration::MAX)
    })
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    bytes.push(u8::try_from(value).unwrap());
    bytes
}

/// Sends `bytes` and nothing more, without ending the stream; waits for the reader to end it.
#[track_caller]
fn is_hung_up_on_after(path: &Path, bytes: &[u8]) {
    let mut stream = connect(path);
    stream.write_all(bytes).unwrap();
    assert!(is_closed(&mut stream));
}

#[track_caller]
fn wait_for_ends(collector: &Collector, count: usize) {
    wait_until(&format!("{count} connections have ended"), || {
        collector.events.count(|event| event.starts_with("Closed")) == count
    });
}

#[test]
fn the_vectors_of_the_format_are_read() {
    let place = Place::new();
    let collector = Collector::start(&place.socket());
    let mut wanted = Vec::new();
    for (len, prefix) in [
        (1, &[0x01][..]),
        (127, &[0x7f]),
        (128, &[0x80, 0x01]),
        (300, &[0xac, 0x02]),
        (10 << 20, &[0x80, 0x80, 0x80, 0x05]),
    ] {
        let message = vec![b'a'; len];
        send_and_close(&place.socket(), &[prefix, &message].concat());
        wanted.push(message);
        collector.wait_for(wanted.len());
    }
    assert!(
        collector.stop() == wanted,
        "the messages are as they were sent"
    );
}

#[test]
fn half_frame_is_never_delivered() {
    let place = Place::new();
    let collector = collector(&place.socket());
    let first = frame(b"first");
    // As long as a length can be, though it says 5.
    let mut padded = [0x80; 15];
    (padded[0], padded[9]) = (0x85, 0x00);
    let mut streams = 0;
    for second in [&frame(&[b'x'; 300])[..], &padded] {
        for end in 0..second.len() {
            send_and_close(&place.socket(), &[&first, &second[..end]].concat());
            streams += 1;
        }
    }
    wait_for_ends(&collector, streams);
    let errors = collector.reader.metrics().protocol_errors;
    // Between the two frames, and only there, it is no error.
    assert_eq!((errors.truncated, errors.total()), (301 + 14, 301 + 14));
    assert_eq!(
        collector
            .events
            .count(|event| event.contains("cause: Truncated")),
        301 + 14
    );
    assert_eq!(
        collector
            .events
            .count(|event| event.contains("cause: EndOfStream")),
        2
    );
    assert_eq!(collector.stop(), vec![b"first"; streams]);
}

#[test]
fn a_connection_that_brings_nothing_is_no_error() {
    let place = Place::new();
    let collector = collector(&place.socket());
    send_and_close(&place.socket(), &[]);
    collector.events.wait_for("cause: EndOfStream");
    assert_eq!(collector.reader.metrics().protocol_errors.total(), 0);
    assert!(collector.stop().is_empty());
}

#[test]
fn zero_lengths_are_no_messages() {
    let place = Place::new();
    let collector = collector(&place.socket());
    let zeros = vec![0; 300_000];
    send_and_close(
        &place.socket(),
        &[&zeros, &frame(b"a")[..], &[0], &frame(b"b"), &zeros].concat(),
    );
    wait_for_ends(&collector, 1);
    let metrics = collector.reader.metrics();
    assert_eq!((metrics.received.messages, metrics.received.bytes), (2, 2));
    assert_eq!(metrics.protocol_errors.total(), 0);
    assert_eq!(collector.stop(), [b"a", b"b"]);
}

#[test]
fn padded_lengths_are_accepted() {
    let place = Place::new();
    let collector = collector(&place.socket());
    let one = [0x81, 0x80, 0x00, b'a'];
    let zero = [0x80, 0x80, 0x80, 0x00];
    let mut widest_one = [0x80; 11];
    (widest_one[0], widest_one[9], widest_one[10]) = (0x81, 0x00, b'b');
    let mut widest_zero = [0x80; 10];
    widest_zero[9] = 0x00;
    let stream = [&one[..], &zero, &widest_one, &widest_zero, &frame(b"c")].concat();
    send_and_close(&place.socket(), &stream);
    let mut stream_in_bytes = connect(&place.socket());
    for byte in stream {
        stream_in_bytes.write_all(&[byte]).unwrap();
    }
    drop(stream_in_bytes);
    wait_for_ends(&collector, 2);
    assert_eq!(collector.reader.metrics().protocol_errors.total(), 0);
    let mut messages = collector.stop();
    messages.sort();
    assert_eq!(messages, [b"a", b"a", b"b", b"b", b"c", b"c"]);
}

#[test]
fn a_message_at_the_limit_is_delivered_and_one_above_is_never_read() {
    let place = Place::new();
    let collector = collector(&place.socket());
    let mut neighbour = connect(&place.socket());
    let longest = vec![7; LIMIT];
    neighbour.write_all(&frame(&longest)).unwrap();
    collector.wait_for(1);
    let limit = u64::try_from(LIMIT).unwrap();
    let mut ends = 0;
    for len in [
        limit + 1,
        u64::from(u32::MAX),
        (1 << 63) - 1,
        1 << 63,
        u64::MAX - 1,
        u64::MAX,
    ] {
        is_hung_up_on_after(&place.socket(), &[frame(b"before"), varint(len)].concat());
        ends += 1;
        wait_for_ends(&collector, ends);
        assert!(
            collector
                .events
                .has(&format!("TooLarge {{ len: {len}, limit: 1000 }}"))
        );
    }
    let errors = collector.reader.metrics().protocol_errors;
    assert_eq!((errors.too_large, errors.total()), (6, 6));
    neighbour.write_all(&frame(b"still here")).unwrap();
    drop(neighbour);
    let messages = collector.wait_for(8);
    assert_eq!(messages[0], longest);
    assert_eq!(messages[1..7], vec![b"before"; 6]);
    assert_eq!(messages[7], b"still here");
    collector.stop();
}

#[test]
fn nothing_behind_a_length_above_the_limit_is_read_as_frames() {
    let place = Place::new();
    let collector = collector(&place.socket());
    let mut stream = connect(&place.socket());
    let behind = frame(b"hidden").repeat(10_000);
    // The reader may hang up in the middle of it.
    let _ = stream.write_all(&[varint(1_001), behind].concat());
    assert!(is_closed(&mut stream));
    wait_for_ends(&collector, 1);
    assert_eq!(collector.reader.metrics().protocol_errors.too_large, 1);
    assert!(collector.stop().is_empty());
}

#[test]
fn a_limit_without_end_announced_to_its_end_costs_nothing() {
    let place = Place::new();
    let collector = Collector::start_with(&place.socket(), |builder| {
        builder
            .max_message_len(usize::MAX)
            .max_partial_bytes(usize::MAX)
    });
    let longest = u64::try_from(usize::MAX).unwrap();
    for len in [longest, longest / 2, longest / 2 + 1] {
        send_and_close(&place.socket(), &[varint(len), vec![0; 200_000]].concat());
    }
    wait_for_ends(&collector, 3);
    assert_eq!(collector.reader.metrics().protocol_errors.truncated, 3);
    assert!(collector.stop().is_empty());
}

#[test]
fn a_length_that_is_no_number_is_refused_at_its_tenth_byte() {
    let place = Place::new();
    let collector = collector(&place.socket());
    let mut above = [0x80; 10];
    above[9] = 0x02;
    let prefixes = [[0x80; 10], [0xff; 10], above];
    for prefix in prefixes {
        is_hung_up_on_after(&place.socket(), &[&frame(b"before")[..], &prefix].concat());
        let mut stream = connect(&place.socket());
        for byte in prefix {
            stream.write_all(&[byte]).unwrap();
        }
        assert!(is_closed(&mut stream));
    }
    wait_for_ends(&collector, 6);
    let errors = collector.reader.metrics().protocol_errors;
    assert_eq!((errors.invalid_prefix, errors.total()), (6, 6));
    assert_eq!(collector.stop(), vec![b"before"; 3]);
}

#[test]
fn nine_bytes_of_a_length_are_waited_on() {
    let place = Place::new();
    let collector = collector(&place.socket());
    let mut stream = connect(&place.socket());
    stream.write_all(&frame(b"before")).unwrap();
    stream.write_all(&[0x80; 9]).unwrap();
    collector.wait_for(1);
    stream.write_all(&[0x01]).unwrap();
    assert!(is_closed(&mut stream));
    collector
        .events
        .wait_for("TooLarge { len: 9223372036854775808, limit: 1000 }");
    assert_eq!(collector.reader.metrics().protocol_errors.total(), 1);
    collector.stop();
}

#[test]
fn an_endless_length_is_hung_up_on() {
    let place = Place::new();
    let collector = collector(&place.socket());
    let mut stream = connect(&place.socket());
    returns("an endless length", move || {
        while stream.write_all(&[0x80; 4096]).is_ok() {}
    });
    wait_for_ends(&collector, 1);
    assert_eq!(collector.reader.metrics().protocol_errors.invalid_prefix, 1);
    collector.stop();
}

#[test]
fn a_shut_down_sending_side_is_the_end_of_the_stream() {
    let place = Place::new();
    let collector = collector(&place.socket());
    for (tail, cause) in [(&[][..], "EndOfStream"), (&[5, b'x'], "Truncated")] {
        let mut stream = connect(&place.socket());
        stream.write_all(&[&frame(b"a"), tail].concat()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert!(is_closed(&mut stream), "the reader closes in time");
        collector.events.wait_for(cause);
    }
    assert_eq!(collector.reader.metrics().protocol_errors.truncated, 1);
    assert_eq!(collector.stop(), [b"a", b"a"]);
}

#[test]
fn a_fragment_of_a_writers_own_stream_delivers_its_whole_frames_only() {
    let place = Place::new();
    let raw = RawReader::bind(&place.path("raw"));
    let (writer, _) = writer(&place.path("raw"));
    let messages: Vec<_> = numbered(200)
        .into_iter()
        .map(|message| message.repeat(4))
        .collect();
    for message in &messages {
        writer.try_send(&message[..]).unwrap();
    }
    finish(&writer);
    let stream = read_to_end(&mut raw.accept());
    assert_eq!(unframe(&stream).0, messages);

    let collector = collector(&place.socket());
    let (mut wanted, mut halves) = (Vec::new(), 0);
    for end in (1..stream.len()).step_by(97) {
        let (whole, half) = unframe(&stream[..end]);
        send_and_close(&place.socket(), &stream[..end]);
        wanted.extend(whole);
        halves += u64::from(!half.is_empty());
        // One after the other, so that the order of all is known.
        collector.wait_for(wanted.len());
    }
    wait_until("the halves are noticed", || {
        collector.reader.metrics().protocol_errors.truncated == halves
    });
    assert_eq!(collector.stop(), wanted);
}

/// What a stream is, by a second decoder as plain as can be: its messages, and why it ends.
fn by_definition(stream: &[u8]) -> (Vec<Vec<u8>>, &'static str) {
    let (mut messages, mut at) = (Vec::new(), 0);
    while at < stream.len() {
        let prefix: Vec<_> = stream[at..].iter().take(10).collect();
        let Some(last) = prefix.iter().position(|byte| **byte < 0x80) else {
            return (
                messages,
                if prefix.len() == 10 {
                    "InvalidPrefix"
                } else {
                    "Truncated"
                },
            );
        };
        let bits = prefix[..=last].iter().enumerate();
        let len: u128 = bits
            .map(|(at, byte)| u128::from(*byte & 0x7f) << (7 * at))
            .sum();
        if len > u128::from(u64::MAX) {
            return (messages, "InvalidPrefix");
        }
        let Some(len) = usize::try_from(len).ok().filter(|len| *len <= LIMIT) else {
            return (messages, "TooLarge");
        };
        let start = at + last + 1;
        let Some(message) = stream.get(start..start + len) else {
            return (messages, "Truncated");
        };
        if len > 0 {
            messages.push(message.to_vec());
        }
        at = start + len;
    }
    (messages, "EndOfStream")
}

fn any_stream() -> impl Strategy<Value = Vec<u8>> {
    let len = prop_oneof![3 => 0..4_usize, 3 => 120..135_usize, 1 => 0..=LIMIT];
    prop::collection::vec(len, 0..30).prop_map(|lens| {
        let bytes = 1..=u8::MAX;
        lens.into_iter()
            .zip(bytes)
            .flat_map(|(len, byte)| frame(&vec![byte; len]))
            .collect()
    })
}

/// Sends a stream in pieces, one write each, and says what the reader made of it.
fn read_in_pieces(
    collector: &Collector,
    path: &Path,
    stream: &[u8],
    cuts: &[Index],
) -> (Vec<Vec<u8>>, String) {
    let (messages, events) = (collector.messages.len(), collector.events.len());
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    cuts.extend([0, stream.len()]);
    cuts.sort_unstable();
    let mut peer = connect(path);
    for piece in cuts.windows(2) {
        // The reader may have hung up already.
        if peer.write_all(&stream[piece[0]..piece[1]]).is_err() {
            break;
        }
        thread::yield_now();
    }
    drop(peer);
    collector.events.wait_for_len(events + 2);
    let ended = collector.events.all().pop().unwrap();
    (collector.messages.all().split_off(messages), ended)
}

#[test]
fn any_fragmentation_and_coalescing_brings_the_same_messages() {
    let place = Place::new();
    let collector = collector(&place.socket());
    let cases = ProptestConfig {
        cases: 100,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(cases, |(stream in any_stream(), cuts in prop::collection::vec(any::<Index>(), 0..60))| {
        let (messages, ended) = read_in_pieces(&collector, &place.socket(), &stream, &cuts);
        prop_assert_eq!(messages, by_definition(&stream).0);
        prop_assert!(ended.contains("EndOfStream"), "{}", ended);
    });
    collector.stop();
}

#[test]
fn a_long_message_may_come_in_pieces_of_any_size() {
    let place = Place::new();
    let collector = Collector::start(&place.socket());
    let message: Vec<u8> = (0..2_000_000_u32)
        .map(|at| u8::try_from(at % 251).unwrap())
        .collect();
    let stream = [frame(b"a"), frame(&message), frame(b"b")].concat();
    for (at, size) in [613, 4_096, 65_537, 300_001, stream.len()]
        .into_iter()
        .enumerate()
    {
        let mut peer = connect(&place.socket());
        for piece in stream.chunks(size) {
            peer.write_all(piece).unwrap();
        }
        drop(peer);
        let messages = collector.wait_for(3 * (at + 1));
        assert!(
            messages[3 * at..] == [b"a".to_vec(), message.clone(), b"b".to_vec()],
            "in pieces of {size}"
        );
    }
    collector.stop();
}

#[test]
fn a_mutated_stream_is_read_as_the_definition_says_and_never_resynchronised() {
    let place = Place::new();
    let collector = collector(&place.socket());
    let mutations = prop::collection::vec(
        (any::<Index>(), prop_oneof![any::<u8>(), 0x7f..=0x81_u8]),
        1..6,
    );
    let cuts = prop::collection::vec(any::<Index>(), 0..8);
    let cases = ProptestConfig {
        cases: 100,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(cases, |(mut stream in any_stream(), mutations in mutations, cuts in cuts)| {
        for (at, value) in mutations {
            if !stream.is_empty() {
                let at = at.index(stream.len());
                stream[at] = value;
            }
        }
        let (wanted, cause) = by_definition(&stream);
        let (messages, ended) = read_in_pieces(&collector, &place.socket(), &stream, &cuts);
        prop_assert_eq!(messages, wanted);
        prop_assert!(ended.contains(cause), "{} is not {}", ended, cause);
    });
    collector.stop();
}

#[test]
fn out_of_band_data_is_not_read_as_data() {
    let place = Place::new();
    let collector = collector(&place.socket());
    // One byte a connection: Linux, as TCP does, turns an earlier one that is still unread into
    // data.
    let program = "
import socket, sys
stream = b'\\x03abc\\x01d'
peers = []
for at in range(len(stream) + 1):
    peer = socket.socket(socket.AF_UNIX)
    peer.connect(sys.argv[1])
    peer.send(stream[:at])
    try:
        peer.send(b'!', socket.MSG_OOB)
    except OSError:
        print('none', flush=True)
        sys.exit()
    peers.append(peer)
print('sent', flush=True)
sys.stdin.readline()
for at, peer in enumerate(peers):
    peer.send(stream[at:])
";
    let Some(mut peer) = python(program, &[place.socket().as_os_str()]) else {
        return;
    };
    peer.lines.wait_for_len(1);
    if peer.lines.has("none") {
        skip("this kernel has no out-of-band data on Unix sockets");
        return;
    }
    // What stood before the byte has come, and the byte has ended nothing: 3 with "abc", 1 with
    // both.
    collector.wait_for(4);
    assert_eq!(collector.reader.metrics().open, 7);
    peer.go_on();
    collector.wait_for(14);
    peer.finish();
    wait_for_ends(&collector, 7);
    assert_eq!(collector.reader.metrics().protocol_errors.total(), 0);
    let mut messages = collector.stop();
    messages.sort();
    assert_eq!(messages, [vec![&b"abc"[..]; 7], vec![b"d"; 7]].concat());
}
