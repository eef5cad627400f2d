//! A writer under log libraries: one record, one message, and nothing that they could stumble over.

use std::fmt;
use std::io::{IoSlice, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime};

use log::Log;
use proptest::prelude::*;
use slog::{Drain, o};
use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::writer::MakeWriterExt;
use uds_ipc::{Overflow, Writer};

use crate::support::{Collector, PATIENCE, Place, finish, wait_until, writer, writer_with};

/// Writes three records by `log` and gives the writer time to send them.
fn sent(log: impl FnOnce(&Writer)) -> Vec<Vec<u8>> {
    let place = Place::new();
    let collector = Collector::start(&place.socket());
    let (writer, _) = writer(&place.socket());
    log(&writer);
    finish(&writer);
    collector.stop()
}

/// What libraries are given to write.
fn emit() {
    tracing::info!(port = 80, "listening");
    tracing::warn!("two\nlines");
    tracing::error!(cause = "none", "bye");
}

#[derive(Clone, Copy)]
enum Format {
    Full,
    Compact,
    Json,
    Pretty,
}

fn trace<W>(format: Format, writer: W, emit: impl FnOnce())
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt().without_time().with_writer(writer);
    let builder = builder.with_max_level(Level::TRACE).with_ansi(false);
    match format {
        Format::Full => tracing::subscriber::with_default(builder.finish(), emit),
        Format::Compact => tracing::subscriber::with_default(builder.compact().finish(), emit),
        Format::Json => tracing::subscriber::with_default(builder.json().finish(), emit),
        Format::Pretty => tracing::subscriber::with_default(builder.pretty().finish(), emit),
    }
}

/// What the same events are as one text.
fn traced(format: Format) -> Vec<u8> {
    let text = Arc::new(Mutex::new(Vec::new()));
    let place = Arc::clone(&text);
    trace(format, move || Append(Arc::clone(&place)), emit);
    text.lock().unwrap().clone()
}

struct Append(Arc<Mutex<Vec<u8>>>);

impl Write for Append {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_tracing_event_is_one_message_in_every_format() {
    for format in [Format::Full, Format::Compact, Format::Json, Format::Pretty] {
        let messages = sent(|writer| trace(format, Arc::new(writer.clone()), emit));
        assert_eq!(messages.len(), 3);
        assert_eq!(messages.concat(), traced(format), "byte for byte");
    }
}

#[test]
fn a_line_of_tracing_is_one_message_without_its_newline() {
    for format in [Format::Full, Format::Compact, Format::Json] {
        let messages = sent(|writer| {
            let writer = writer.clone();
            trace(format, move || writer.lines(), emit);
        });
        let text = traced(format);
        let lines: Vec<_> = text.split(|byte| *byte == b'\n').collect();
        assert_eq!(messages, lines[..lines.len() - 1]);
    }
}

#[test]
fn a_record_of_env_logger_is_one_message() {
    let records = |target: Box<dyn Write + Send>| {
        let logger = env_logger::Builder::new()
            .filter_level(log::LevelFilter::Info)
            .target(env_logger::Target::Pipe(target))
            .build();
        for text in ["one", "two"] {
            let arguments = format_args!("{text}");
            logger.log(
                &log::Record::builder()
                    .level(log::Level::Warn)
                    .args(arguments)
                    .build(),
            );
        }
    };
    let whole = sent(|writer| records(Box::new(writer.clone())));
    let lines = sent(|writer| records(Box::new(writer.lines())));
    assert_eq!(lines.len(), 2);
    assert!(
        lines[0].ends_with(b"one") && lines[1].ends_with(b"two"),
        "{lines:?}"
    );
    let ended: Vec<_> = whole
        .iter()
        .map(|message| message.strip_suffix(b"\n").unwrap())
        .collect();
    assert_eq!(ended, lines);
}

/// It writes forty small pieces for a record.
#[test]
fn a_record_of_slog_is_one_message() {
    let messages = sent(|writer| {
        let drain = Mutex::new(slog_json::Json::default(writer.lines())).fuse();
        let logger = slog::Logger::root(drain, o!("program" => "test"));
        slog::info!(logger, "one"; "number" => 1);
        slog::error!(logger, "two"; "number" => 2);
    });
    let numbers = messages.iter().map(|message| {
        let record: serde_json::Value = serde_json::from_slice(message).unwrap();
        assert_eq!(record["program"], "test");
        record["number"].as_i64().unwrap()
    });
    assert_eq!(numbers.collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn what_is_formatted_or_written_in_slices_is_one_message() {
    struct Fails;
    impl fmt::Display for Fails {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("half of it")?;
            Err(fmt::Error)
        }
    }
    let messages = sent(|writer| {
        let mut writer = writer;
        write!(writer, "requests:{}|c", 17).unwrap();
        write!(writer, "no arguments").unwrap();
        write!(writer, "").unwrap();
        let nothing = "";
        write!(writer, "{nothing}").unwrap();
        assert!(write!(writer, "{Fails}").is_err());
        assert!(write!(writer.lines(), "{Fails}").is_err());
        let slices = [IoSlice::new(b""), IoSlice::new(b"a"), IoSlice::new(b"bc\n")];
        assert_eq!(writer.write_vectored(&slices).unwrap(), 4);
        assert_eq!(writer.write_vectored(&[]).unwrap(), 0);
        assert_eq!(writer.write(b"").unwrap(), 0);
        writer.write_all(b"\0\n").unwrap();
        Write::flush(&mut writer).unwrap();
        assert_eq!(writer.metrics().dropped.total().messages, 0);
    });
    let expected: [&[u8]; 5] = [
        b"requests:17|c",
        b"no arguments",
        // A line that began is sent.
        b"half of it",
        b"abc\n",
        b"\0\n",
    ];
    assert_eq!(messages, expected);
}

/// A log library would print an error for each, or panic.
#[test]
fn what_is_refused_is_counted_and_no_error() {
    let place = Place::new();
    let (mut writer, _) = writer_with(&place.socket(), |builder| {
        builder.max_queued_messages(1).max_message_len(10)
    });
    writer.write_all(&[b'a'; 11]).unwrap();
    write!(writer, "{}", "b".repeat(11)).unwrap();
    writer.write_all(b"fits").unwrap();
    let slog = slog::Logger::root(
        Mutex::new(slog_json::Json::default(writer.lines())).fuse(),
        o!(),
    );
    slog::info!(slog, "too long, and there is no room");
    drop(slog);
    let mut lines = writer.lines();
    writeln!(lines, "full").unwrap();
    drop(lines);
    let dropped = writer.metrics().dropped;
    assert_eq!(dropped.too_large.messages, 2);
    assert!(dropped.full.messages >= 2, "{dropped:?}");
    let _ = writer.shutdown(Duration::ZERO).unwrap();
    writer.write_all(b"late").unwrap();
    assert_eq!(writer.metrics().dropped.closed.messages, 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn text_in_pieces_of_any_size_comes_as_its_lines(
        text in "[ab\r\n]{0,80}",
        cuts in proptest::collection::vec(0_usize..80, 0..6),
        most in 1_usize..8,
    ) {
        let place = Place::new();
        let (writer, _) = writer_with(&place.socket(), |builder| builder.max_message_len(most));
        let mut cuts: Vec<_> = cuts.iter().map(|cut| (*cut).min(text.len())).collect();
        cuts.sort_unstable();
        let mut lines = writer.lines();
        let mut from = 0;
        for cut in cuts.into_iter().chain([text.len()]) {
            lines.write_all(&text.as_bytes()[from..cut]).unwrap();
            from = cut;
        }
        drop(lines);
        let collector = Collector::start(&place.socket());
        finish(&writer);
        // A line that is too long comes in pieces.
        let expected: Vec<_> = text
            .split('\n')
            .flat_map(|line| line.as_bytes().chunks(most))
            .map(<[u8]>::to_vec)
            .collect();
        prop_assert_eq!(collector.stop(), expected);
    }
}

#[test]
fn details_give_way_to_what_matters_when_the_queue_fills() {
    let place = Place::new();
    let (writer, _) = writer_with(&place.socket(), |builder| builder.max_queued_messages(100));
    let choose = Arc::new(writer.clone())
        .with_max_level(Level::WARN)
        .or_else(Arc::new(writer.shed_at(0.5)));
    trace(Format::Compact, choose, || {
        for number in 0..80 {
            tracing::debug!(number, "detail");
        }
        for number in 0..30 {
            tracing::error!(number, "matters");
        }
    });
    assert_eq!(writer.metrics().dropped.full.messages, 30, "details");
    let collector = Collector::start(&place.socket());
    finish(&writer);
    let messages = collector.stop();
    let of = |level: &str| {
        let of_level = messages.iter().filter(|message| {
            String::from_utf8_lossy(message)
                .trim_start()
                .starts_with(level)
        });
        of_level.count()
    };
    assert_eq!((of("DEBUG"), of("ERROR")), (50, 30));
}

#[test]
fn a_share_of_the_queue_is_one_of_its_bytes_too_and_comes_back() {
    let place = Place::new();
    let (writer, _) = writer_with(&place.socket(), |builder| builder.max_queued_bytes(1000));
    let least = writer.shed_at(0.2);
    least.try_send([1; 199].as_slice()).unwrap();
    least.try_send([1; 1].as_slice()).unwrap();
    let waits = least.send_timeout([1; 1].as_slice(), PATIENCE);
    assert!(waits.unwrap_err().is_full(), "at once");
    let encoded = least.try_send_with(|buffer| buffer.push(1));
    assert!(encoded.is_err());
    assert_eq!(writer.metrics().dropped.full.bytes, 2);
    assert!(writer.shed_at(f64::NAN).try_send("never").is_err());
    assert!(writer.shed_at(-1.0).try_send("never").is_err());
    writer.shed_at(7.0).try_send("always").unwrap();
    let collector = Collector::start(&place.socket());
    wait_until("the queue is empty", || {
        writer.metrics().queued.messages == 0
    });
    least.try_send("again").unwrap();
    finish(&writer);
    assert_eq!(collector.stop().len(), 4);
}

#[test]
fn a_notice_tells_of_drops_in_their_place() {
    for overflow in [Overflow::Refuse, Overflow::DropOldest] {
        let place = Place::new();
        let before = SystemTime::now();
        let (writer, _) = writer_with(&place.socket(), |builder| {
            let builder = builder.max_queued_messages(10).overflow(overflow);
            builder.drop_notice(move |notice| {
                assert!(before <= notice.since && notice.since <= SystemTime::now());
                assert_eq!(notice.dropped.bytes, 2 * notice.dropped.messages);
                format!("{} dropped", notice.dropped.messages)
            })
        });
        for number in 10..30 {
            let _ = writer.try_send(number.to_string());
        }
        let collector = Collector::start(&place.socket());
        wait_until("the notice is there", || collector.messages.len() == 11);
        writer.try_send("later").unwrap();
        let kept = match overflow {
            Overflow::DropOldest => 20..30,
            Overflow::Refuse | _ => 10..20,
        };
        let mut expected: Vec<_> = kept.map(|number| number.to_string()).collect();
        expected.extend(["10 dropped".to_owned(), "later".to_owned()]);
        finish(&writer);
        let came = collector
            .stop()
            .into_iter()
            .map(|message| String::from_utf8(message).unwrap());
        assert_eq!(came.collect::<Vec<_>>(), expected);
    }
}

#[test]
fn a_shutdown_sends_the_last_notice_and_one_that_panics_or_is_empty_is_none() {
    for (make, came) in [
        ("notice", vec!["1", "notice"]),
        ("", vec!["1"]),
        ("panic", vec!["1"]),
        ("much too long for this writer", vec!["1"]),
    ] {
        let place = Place::new();
        let (writer, _) = writer_with(&place.socket(), |builder| {
            let builder = builder.max_queued_messages(1).max_message_len(10);
            builder.drop_notice(move |_| {
                assert_ne!(make, "panic");
                make
            })
        });
        writer.try_send("1").unwrap();
        writer.try_send("2").unwrap_err();
        let stop = {
            let writer = writer.clone();
            std::thread::spawn(move || finish(&writer))
        };
        wait_until("it is closed", || {
            writer.try_send("3").unwrap_err().is_closed()
        });
        let collector = Collector::start(&place.socket());
        stop.join().unwrap();
        assert_eq!(
            collector.stop(),
            came.iter().map(|text| text.as_bytes()).collect::<Vec<_>>()
        );
        let metrics = writer.metrics();
        assert_eq!(metrics.observer_panics, u64::from(make == "panic"));
        assert_eq!(
            metrics.dropped.too_large.messages,
            u64::from(make.len() > 10)
        );
    }
}

/// A writer with little room, and how many drops its notices have told of.
fn small_writer_with_notices(place: &Place) -> (Writer, Arc<AtomicU64>) {
    let told = Arc::new(AtomicU64::new(0));
    let noted = Arc::clone(&told);
    let (writer, _) = writer_with(&place.socket(), |builder| {
        builder.max_queued_messages(20).drop_notice(move |notice| {
            noted.fetch_add(notice.dropped.messages, Ordering::SeqCst);
            "notice"
        })
    });
    (writer, told)
}

/// At a queue that is full all the time there is room again after every write.
#[test]
fn notices_do_not_flood_what_has_no_room() {
    let place = Place::new();
    let collector = Collector::start(&place.socket());
    let (writer, told) = small_writer_with_notices(&place);
    while writer.metrics().dropped.full.messages < 100_000 {
        let _ = writer.try_send("message");
    }
    // The last drops are told once their second is over, though nothing else is sent.
    wait_until("all drops are told", || {
        told.load(Ordering::SeqCst) == writer.metrics().dropped.full.messages
    });
    finish(&writer);
    let messages = collector.stop();
    let notices = messages
        .iter()
        .filter(|message| *message == b"notice")
        .count();
    assert!(notices < 100, "{notices}");
}

#[test]
fn a_queue_that_a_shutdown_has_ended_takes_no_notice() {
    for _ in 0..20 {
        let place = Place::new();
        let (writer, events) = writer_with(&place.socket(), |builder| {
            builder.max_queued_messages(3).drop_notice(|_| "notice")
        });
        while writer.try_send("message").is_ok() {}
        let report = writer.shutdown(Duration::from_millis(2)).unwrap();
        assert_eq!(report.left.messages, 3);
        events.wait_for("Stopped");
        let metrics = writer.metrics();
        assert_eq!((metrics.accepted.messages, metrics.queued.messages), (3, 0));
    }
}

/// The queue may be empty again, and the thread asleep, when the sender counts what was refused.
#[test]
fn a_drop_is_told_however_soon_there_is_room_again() {
    let place = Place::new();
    let collector = Collector::start(&place.socket());
    for _ in 0..500 {
        let (writer, told) = small_writer_with_notices(&place);
        while writer.try_send("message").is_ok() {}
        wait_until("the drop is told", || told.load(Ordering::SeqCst) == 1);
        finish(&writer);
    }
    collector.stop();
}

#[test]
fn a_program_whose_collector_is_restarted_loses_no_line() {
    const LINES: usize = 30_000;
    let place = Place::new();
    let (writer, _) = writer_with(&place.socket(), |builder| {
        builder.max_queued_messages(LINES)
    });
    let mut came = Vec::new();
    std::thread::scope(|scope| {
        let (lines, path) = (writer.clone(), place.socket());
        let program = scope.spawn(move || {
            trace(
                Format::Json,
                move || lines.lines(),
                || {
                    for number in 0..LINES {
                        tracing::info!(number);
                    }
                },
            );
        });
        for _ in 0..3 {
            let collector = Collector::start(&path);
            let _ = collector.wait_for(100);
            came.extend(collector.stop());
        }
        let collector = Collector::start(&path);
        program.join().unwrap();
        finish(&writer);
        came.extend(collector.stop());
    });
    let numbers = came.iter().map(|line| {
        let line: serde_json::Value = serde_json::from_slice(line).unwrap();
        usize::try_from(line["fields"]["number"].as_u64().unwrap()).unwrap()
    });
    assert!(numbers.eq(0..LINES), "each once, in order");
}

/// What both ends tell may go into the log that they carry: they tell of transitions, not of
/// messages.
#[test]
fn ends_that_log_their_own_events_do_not_feed_on_them() {
    #[derive(Clone, Default)]
    struct Log {
        writer: Arc<OnceLock<Writer>>,
        told: Arc<AtomicU64>,
    }
    impl Log {
        fn note(&self, event: &dyn fmt::Display) {
            if let Some(mut writer) = self.writer.get() {
                self.told.fetch_add(1, Ordering::SeqCst);
                write!(writer, "{event}").unwrap();
            }
        }
    }
    let (place, log) = (Place::new(), Log::default());
    let by_writer = log.clone();
    let builder = Writer::builder(place.socket());
    let builder = builder.on_event(move |event| by_writer.note(&event));
    let writer = log.writer.get_or_init(|| builder.start().unwrap());
    for _ in 0..3 {
        let by_reader = log.clone();
        let collector = Collector::start_with(&place.socket(), |builder| {
            builder.on_event(move |event| by_reader.note(&event))
        });
        writer.try_send("a message").unwrap();
        wait_until("it is there", || {
            collector.messages.all().contains(&b"a message".to_vec())
        });
        collector.stop();
    }
    // What is queued now tells that nobody is there, and rests.
    wait_until("the writer waits", || !writer.is_connected());
    let told = || log.told.load(Ordering::SeqCst);
    wait_until("each event is one message", || {
        writer.metrics().accepted.messages == told() + 3
    });
    assert!(told() < 100, "{} events", told());
    let _ = writer.shutdown(Duration::ZERO).unwrap();
}

/// The process may end right after. (A busy machine may hold the thread up for longer than the
/// guard waits, now and then.)
#[test]
fn a_guard_waits_until_the_observer_has_heard_of_the_end() {
    const ROUNDS: usize = 20;
    let told = (0..ROUNDS).filter(|_| {
        let place = Place::new();
        let (writer, events) = writer_with(&place.socket(), |builder| builder);
        writer.try_send("nobody is there").unwrap();
        drop(writer.shutdown_guard(Duration::ZERO));
        let is_told = events.has("Stopped");
        drop(writer);
        is_told
    });
    assert!(told.count() > ROUNDS / 2);
}
