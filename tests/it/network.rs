//! TCP between two machines, over a cable that loses packets, holds them up, or is cut.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use uds_ipc::event::{ReaderEvent, WriterEvent};
use uds_ipc::{Delivery, FlushLevel, Handler, Peer, Reader, ReaderBuilder, Writer, WriterBuilder};

use crate::support::cable::{Cable, FAR, Machine, Quality};
use crate::support::{
    Notes, Over, PATIENCE, SHORT, assert_balanced, assert_balanced_by_receipts, finish,
    finish_with_receipts, wait_until,
};

/// A network of our own has all its ports free.
const PORT: u16 = 7000;

/// What a message carries beside its number.
const PADDING: usize = 92;

const MESSAGE_LEN: usize = 8 + PADDING;

/// What a kernel holds of a connection, where that is to be little.
const SEND_BUFFER: usize = 16_384;

/// Short for a cable, and long for a busy machine.
const HASTY: Duration = Duration::from_millis(400);

const GOOD: Quality = Quality {
    loss: 0,
    delay: Duration::ZERO,
    jitter: Duration::ZERO,
};

/// What comes by radio on a bad day.
const BAD: Quality = Quality {
    loss: 10,
    delay: Duration::from_millis(20),
    jitter: Duration::from_millis(5),
};

/// What leads over the sea.
const FAR_AWAY: Quality = Quality {
    loss: 0,
    delay: Duration::from_millis(50),
    jitter: Duration::ZERO,
};

fn address() -> String {
    format!("tcp:{FAR}:{PORT}")
}

/// What came: on which connection, and its number.
#[derive(Clone)]
struct Received(Notes<(u64, u64)>);

impl Handler for Received {
    type Error = Infallible;

    fn message(&self, message: &[u8], peer: &Peer) -> Result<(), Infallible> {
        let number = u64::from_be_bytes(message[..8].try_into().unwrap());
        self.0.add((peer.connection, number));
        Ok(())
    }
}

impl Received {
    fn new() -> Self {
        Self(Notes::new())
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn has(&self, number: u64) -> bool {
        self.0.count(|(_, came)| *came == number) > 0
    }

    /// The numbers, as they came.
    fn numbers(&self) -> Vec<u64> {
        self.0.all().iter().map(|(_, number)| *number).collect()
    }

    /// Checks that no connection has mixed up or repeated what it carried. Returns which numbers
    /// came at all.
    #[track_caller]
    fn in_order_by_connection(&self) -> BTreeSet<u64> {
        let mut arrivals = self.0.all();
        // What came on one connection stays in its order.
        arrivals.sort_by_key(|(connection, _)| *connection);
        for pair in arrivals.windows(2) {
            assert!(
                pair[0].0 != pair[1].0 || pair[0].1 < pair[1].1,
                "{pair:?} came on one connection"
            );
        }
        arrivals.into_iter().map(|(_, number)| number).collect()
    }
}

fn start_reader(
    machine: &Machine,
    received: &Received,
    set: impl FnOnce(ReaderBuilder) -> ReaderBuilder + Send,
) -> (Reader, Notes<String>) {
    let events = Notes::new();
    let builder = Reader::builder(address())
        .allow_remote(true)
        .on_event(events.observer::<ReaderEvent>());
    let reader = machine.run(|| {
        let bound = set(builder).bind().unwrap();
        bound.start_handler(received.clone()).unwrap()
    });
    (reader, events)
}

/// A writer that soon tries again.
fn start_writer(
    machine: &Machine,
    set: impl FnOnce(WriterBuilder) -> WriterBuilder + Send,
) -> (Writer, Notes<String>) {
    let events = Notes::new();
    let builder = Writer::builder(address())
        .allow_remote(true)
        .backoff_min(Duration::from_millis(1))
        .backoff_max(SHORT)
        .on_event(events.observer::<WriterEvent>());
    let writer = machine.run(|| set(builder).start().unwrap());
    (writer, events)
}

/// No timeout of its own ends its connection.
fn patient(builder: WriterBuilder) -> WriterBuilder {
    builder
        .write_timeout(PATIENCE)
        .connect_timeout(PATIENCE)
        .tcp_user_timeout(None)
}

/// Only the kernel ends its connection, after a short time.
fn hasty_kernel(builder: WriterBuilder) -> WriterBuilder {
    builder
        .write_timeout(PATIENCE)
        .connect_timeout(HASTY)
        .tcp_user_timeout(HASTY)
}

fn message(number: u64) -> Vec<u8> {
    [&number.to_be_bytes()[..], &[b'.'; PADDING]].concat()
}

/// Sends one after the other until `is_over`. Returns how many.
fn send_until(writer: &Writer, is_over: &AtomicBool) -> u64 {
    let mut number = 0;
    while !is_over.load(Ordering::SeqCst) {
        if writer.send_timeout(message(number), SHORT).is_ok() {
            number += 1;
        }
    }
    number
}

/// Has messages sent while `act` goes on. Returns how many.
fn under_load(writer: &Writer, act: impl FnOnce()) -> u64 {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let sending = scope.spawn(|| send_until(writer, &is_over));
        {
            let _over = Over(&is_over);
            act();
        }
        sending.join().unwrap()
    })
}

fn more(received: &Received, count: usize) {
    received.0.wait_for_len(received.len() + count);
}

fn losses(events: &Notes<String>) -> usize {
    events.count(|event| event.starts_with("Lost"))
}

fn wait_for_loss(events: &Notes<String>, before: usize) {
    wait_until("the connection is lost", || losses(events) > before);
}

#[track_caller]
fn stop(reader: &Reader) {
    assert_eq!(reader.shutdown(PATIENCE).unwrap().cut, 0);
}

#[test]
fn over_a_cable_that_loses_packets_all_arrives_once_and_in_order() {
    for delivery in [Delivery::AtMostOnce, Delivery::AtLeastOnce] {
        let Some(cable) = Cable::new(BAD) else { return };
        let received = Received::new();
        let (reader, _) = start_reader(&cable.far, &received, |it| it.idle_timeout(PATIENCE));
        let (writer, _) = start_writer(&cable.near, |it| patient(it).delivery(delivery));
        for number in 0..20_000_u64 {
            writer
                .send_timeout(&number.to_be_bytes(), PATIENCE)
                .unwrap();
        }
        if delivery == Delivery::AtLeastOnce {
            finish_with_receipts(&writer);
            assert_eq!(writer.metrics().confirmed.messages, 20_000);
            assert_eq!(writer.metrics().resent.messages, 0);
        } else {
            finish(&writer);
            received.0.wait_for_len(20_000);
        }
        stop(&reader);
        assert!(received.numbers().into_iter().eq(0..20_000), "{delivery:?}");
        assert_eq!(writer.metrics().connects, 1);
        assert!(cable.lost() > 0);
    }
}

#[test]
fn at_least_once_a_cable_that_is_cut_under_load_costs_nothing() {
    // It notices when the kernel takes no more.
    let hasty_writer = |builder| {
        patient(builder)
            .write_timeout(HASTY)
            .send_buffer_size(SEND_BUFFER)
    };
    for set in [hasty_kernel, hasty_writer] {
        let Some(cable) = Cable::new(GOOD) else {
            return;
        };
        let received = Received::new();
        let (reader, _) = start_reader(&cable.far, &received, |it| it);
        let keep = |builder| {
            set(builder)
                .connect_timeout(HASTY)
                .delivery(Delivery::AtLeastOnce)
        };
        let (writer, events) = start_writer(&cable.near, keep);
        let sent = under_load(&writer, || {
            more(&received, 3_000);
            let before = losses(&events);
            cable.cut();
            wait_for_loss(&events, before);
            events.wait_for("TimedOut");
            assert!(!writer.metrics().connected);
            cable.mend();
            more(&received, 3_000);
        });
        finish_with_receipts(&writer);
        stop(&reader);
        let arrived = received.in_order_by_connection();
        assert!(arrived.into_iter().eq(0..sent), "{:#?}", events.all());
        assert!(writer.metrics().connects >= 2);
    }
}

#[test]
fn a_cable_that_is_cut_while_nothing_is_sent_is_noticed_at_both_ends() {
    // The probes alone take six seconds: one, and five more.
    for user_timeout in [Some(Duration::from_secs(2)), None] {
        let Some(cable) = Cable::new(GOOD) else {
            return;
        };
        let received = Received::new();
        let short = |builder: ReaderBuilder| builder.idle_timeout(Duration::from_secs(8));
        let (reader, readers_events) = start_reader(&cable.far, &received, short);
        let probing = |builder: WriterBuilder| {
            builder
                .tcp_user_timeout(user_timeout)
                .tcp_keepalive(Duration::from_secs(1))
                .connect_timeout(HASTY)
        };
        let (writer, events) = start_writer(&cable.near, probing);
        writer.try_send(message(0)).unwrap();
        more(&received, 1);
        // Its answer comes with the kernel's for all that was sent: of that nothing is to be on its
        // way, or no probe would go out.
        writer.flush(FlushLevel::Handled, PATIENCE).unwrap();
        cable.cut();
        events.wait_for("Lost");
        assert!(events.has("TimedOut"), "{:#?}", events.all());
        readers_events.wait_for("cause: Idle");
        wait_until("it is closed", || reader.metrics().open == 0);
        cable.mend();
        writer.try_send(message(1)).unwrap();
        finish(&writer);
        received.0.wait_for_len(2);
        stop(&reader);
        assert_eq!(received.numbers(), [0, 1]);
        assert_eq!(writer.metrics().lost_with_unread, 0);
    }
}

#[test]
fn at_most_once_a_cut_cable_costs_what_the_kernel_held_and_no_more() {
    // Linux doubles it, and a last segment may go beyond.
    const MOST: usize = 2 * SEND_BUFFER + 65_536;

    let Some(cable) = Cable::new(GOOD) else {
        return;
    };
    let received = Received::new();
    let (reader, _) = start_reader(&cable.far, &received, |it| it);
    let narrow = |builder| hasty_kernel(builder).send_buffer_size(SEND_BUFFER);
    let (writer, events) = start_writer(&cable.near, narrow);
    let sent = under_load(&writer, || {
        more(&received, 3_000);
        let before = losses(&events);
        // What has arrived leaves its room in the kernel to what will not.
        cable.cut_way_there();
        wait_for_loss(&events, before);
        cable.mend();
        more(&received, 3_000);
    });
    finish(&writer);
    wait_until("the last message has come", || received.has(sent - 1));
    stop(&reader);
    assert_eq!(writer.metrics().accepted.messages, sent);
    assert_eq!(writer.metrics().sent.messages, sent);
    let arrived = received.in_order_by_connection();
    assert_eq!(received.len(), arrived.len(), "some came twice");
    // It is said that some were lost.
    assert!(events.has("unread: true"), "{:#?}", events.all());
    assert!(writer.metrics().lost_with_unread > 0);
    let missing = usize::try_from(sent).unwrap() - arrived.len();
    let cuts = losses(&events);
    assert!(
        missing > 0,
        "the kernel held something: {:#?}",
        events.all()
    );
    assert!(
        missing * MESSAGE_LEN <= MOST * cuts,
        "{missing} of {sent} are missing: {:#?}",
        events.all()
    );
}

#[test]
fn at_most_once_a_cable_that_is_mended_in_time_costs_nothing() {
    let Some(cable) = Cable::new(GOOD) else {
        return;
    };
    let received = Received::new();
    let (reader, _) = start_reader(&cable.far, &received, |it| it.idle_timeout(PATIENCE));
    let hasty_writer = |builder| patient(builder).write_timeout(HASTY).connect_timeout(HASTY);
    let (writer, events) = start_writer(&cable.near, hasty_writer);
    let sent = under_load(&writer, || {
        more(&received, 3_000);
        let before = losses(&events);
        cable.cut();
        wait_for_loss(&events, before);
        cable.mend();
        more(&received, 3_000);
    });
    finish(&writer);
    // The kernel goes on to send what it holds of a connection that the writer has given up.
    wait_until("all has come", || {
        u64::try_from(received.len()).unwrap() >= sent
    });
    stop(&reader);
    let arrived = received.in_order_by_connection();
    assert_eq!(received.len(), arrived.len(), "some came twice");
    assert!(arrived.into_iter().eq(0..sent));
}

#[test]
fn planned_stops_across_a_long_cable_lose_nothing_and_repeat_nothing() {
    let Some(cable) = Cable::new(FAR_AWAY) else {
        return;
    };
    let received = Received::new();
    let (mut reader, _) = start_reader(&cable.far, &received, |it| it);
    let (writer, events) = start_writer(&cable.near, patient);
    let sent = under_load(&writer, || {
        for _ in 0..4 {
            more(&received, 1_000);
            stop(&reader);
            reader = start_reader(&cable.far, &received, |it| it).0;
        }
        more(&received, 1_000);
    });
    finish(&writer);
    assert_balanced(&writer);
    let metrics = writer.metrics();
    wait_until("the last message has come", || received.has(sent - 1));
    stop(&reader);
    let arrived = received.in_order_by_connection();
    assert_eq!(received.len(), arrived.len(), "some came twice");
    assert!(metrics.connects >= 5);
    assert_eq!(metrics.lost_with_unread, 0, "{:#?}", events.all());
    assert!(arrived.into_iter().eq(0..sent), "{:#?}", events.all());
}

#[test]
fn an_idle_connection_is_closed_across_a_long_cable_and_costs_no_message() {
    const ROUNDS: u64 = 10;

    let Some(cable) = Cable::new(FAR_AWAY) else {
        return;
    };
    let received = Received::new();
    let short = |builder: ReaderBuilder| builder.idle_timeout(Duration::from_millis(20));
    let (reader, readers_events) = start_reader(&cable.far, &received, short);
    let (writer, events) = start_writer(&cable.near, patient);
    for round in 0..ROUNDS {
        // It crosses the reader's farewell on the way.
        writer.try_send(message(round)).unwrap();
        let enough = usize::try_from(round).unwrap() + 1;
        received.0.wait_for_len(enough);
    }
    readers_events.wait_for("cause: Idle");
    finish(&writer);
    stop(&reader);
    assert!(received.numbers().into_iter().eq(0..ROUNDS));
    assert_eq!(writer.metrics().lost_with_unread, 0, "{:#?}", events.all());
}

#[test]
fn a_machine_that_vanishes_is_given_up_for_a_new_one_at_its_address() {
    // The new one is there before the writer has noticed, or only then.
    for is_there_at_once in [true, false] {
        let Some(mut cable) = Cable::new(GOOD) else {
            return;
        };
        let received = Received::new();
        let (old, _) = start_reader(&cable.far, &received, |it| it);
        // The kernel of the new one knows nothing of the connection, and says so.
        let set = if is_there_at_once {
            patient
        } else {
            hasty_kernel
        };
        let keep = |builder| set(builder).delivery(Delivery::AtLeastOnce);
        let (writer, events) = start_writer(&cable.near, keep);
        let mut new = None;
        let new_received = Received::new();
        let sent = under_load(&writer, || {
            more(&received, 3_000);
            let before = losses(&events);
            cable.cut();
            let machine = cable.replace_far();
            if is_there_at_once {
                cable.mend();
            }
            // Its last words go nowhere.
            drop(old);
            drop(machine);
            wait_for_loss(&events, before);
            cable.mend();
            new = Some(start_reader(&cable.far, &new_received, |it| it).0);
            more(&new_received, 3_000);
        });
        finish_with_receipts(&writer);
        stop(&new.unwrap());
        let mut arrived = received.in_order_by_connection();
        arrived.extend(new_received.in_order_by_connection());
        assert!(arrived.into_iter().eq(0..sent), "{:#?}", events.all());
        let cause = if is_there_at_once {
            "ConnectionReset"
        } else {
            "TimedOut"
        };
        assert!(events.has(cause), "{:#?}", events.all());
    }
}

#[test]
fn a_cable_that_is_cut_before_the_first_connection_holds_messages_up_only() {
    let Some(cable) = Cable::new(GOOD) else {
        return;
    };
    cable.cut();
    let received = Received::new();
    let (reader, _) = start_reader(&cable.far, &received, |it| it);
    let (writer, events) = start_writer(&cable.near, hasty_kernel);
    for number in 0..10 {
        writer.try_send(message(number)).unwrap();
    }
    events.wait_for("TimedOut");
    assert_eq!(writer.metrics().queued.messages, 10);
    cable.mend();
    finish(&writer);
    received.0.wait_for_len(10);
    stop(&reader);
    assert!(received.numbers().into_iter().eq(0..10));
}

#[test]
fn another_machine_is_for_those_only_who_allow_it() {
    let Some(cable) = Cable::new(GOOD) else {
        return;
    };
    let refused = cable
        .far
        .run(|| Reader::builder(address()).bind().unwrap_err());
    assert!(refused.to_string().contains("allow_remote"), "{refused}");
    let received = Received::new();
    let (reader, readers_events) = start_reader(&cable.far, &received, |it| it);
    let refused = cable.near.run(|| Writer::start(address()).unwrap_err());
    assert!(refused.to_string().contains("allow_remote"), "{refused}");
    assert_eq!(reader.metrics().connections, 0);
    let keep = |builder: WriterBuilder| builder.delivery(Delivery::AtLeastOnce);
    let (writer, events) = start_writer(&cable.near, keep);
    writer.try_send(message(1)).unwrap();
    finish_with_receipts(&writer);
    assert_balanced_by_receipts(&writer);
    assert!(events.has("10.0.0.2:7000"), "{:#?}", events.all());
    assert!(
        readers_events.has("10.0.0.1"),
        "{:#?}",
        readers_events.all()
    );
    stop(&reader);
    assert_eq!(received.numbers(), [1]);
}
