//! The bounds, and that the figures add up over the whole way.

use std::time::Duration;

use async_nats::jetstream::stream::{Config, RetentionPolicy};
use nix::sys::signal::Signal;
use uds_ipc::{Delivery, Writer};

use crate::support::nats::{Nats, STREAM};
use crate::support::producer::{Found, Producer, message, writer};
use crate::support::relay::Relay;
use crate::support::{PATIENCE, pause, wait_for};

#[test]
fn what_is_too_long_or_nobodys_is_left_out_and_the_rest_goes_on() {
    let nats = Nats::with("max_payload: 65536");
    nats.make_stream();
    let relay = Relay::start(&["--nats-url", &nats.url(), "--max-message-bytes", "100KiB"]);
    let writer = writer(&relay.socket());
    let long = |number: u64, len: usize| format!("web {number} {}", "x".repeat(len));
    for text in [
        message("web", 1),
        long(2, 70_000),
        "nobody's".to_owned(),
        message("web", 3),
        // Before the server is asked.
        long(4, 200_000),
        message("web", 5),
    ] {
        writer.send_timeout(text, PATIENCE).unwrap();
    }
    assert_eq!(writer.shutdown(PATIENCE).unwrap().left.messages, 0);
    let mut numbers = Vec::new();
    nats.read("messages.>", |_, number, _| numbers.push(number));
    assert_eq!(numbers, [1, 3, 5]);
    assert_eq!(relay.figure("left_out_total{reason=\"too_long\"}"), 2);
    assert_eq!(relay.figure("left_out_total{reason=\"unmarked\"}"), 1);
    assert_eq!((relay.figure("accepted_total"), relay.settled()), (6, 6));
    // Each reason by itself.
    for reason in ["too_long", "unmarked"] {
        let told = format!("messages were left out reason=\"{reason}\"");
        wait_for("the log", || relay.log().contains(&told));
    }
}

/// Ids are those of the whole stream: one prefix's must not count for another's.
#[test]
fn two_prefixes_in_one_stream_have_the_same_names_and_numbers() {
    let nats = Nats::start();
    nats.make_stream_of(Config {
        name: STREAM.to_owned(),
        subjects: vec!["logs.>".to_owned()],
        duplicate_window: Duration::from_secs(120),
        ..Config::default()
    });
    for prefix in ["logs.a", "logs.b"] {
        let relay = Relay::start(&["--nats-url", &nats.url(), "--prefix", prefix]);
        let writer = writer(&relay.socket());
        for number in 1..=2 {
            writer
                .send_timeout(message("web", number), PATIENCE)
                .unwrap();
        }
        assert_eq!(writer.shutdown(PATIENCE).unwrap().left.messages, 0);
        assert_eq!(relay.figure("acknowledged_total"), 2);
        let mut numbers = Vec::new();
        nats.read(&format!("{prefix}.>"), |_, number, _| numbers.push(number));
        assert_eq!(numbers, [1, 2], "{prefix}");
    }
}

#[test]
fn fields_of_json_say_whose_a_message_is() {
    let nats = Nats::start();
    nats.make_stream();
    let relay = Relay::start(&["--nats-url", &nats.url(), "--rule", "json:app.name,seq"]);
    let writer = writer(&relay.socket());
    let line = r#"{"seq":7,"app":{"name":"web"},"level":"INFO"}"#;
    writer.send_timeout(line, PATIENCE).unwrap();
    assert_eq!(writer.shutdown(PATIENCE).unwrap().left.messages, 0);
    let mut found = Vec::new();
    nats.read("messages.>", |name, number, body| {
        found.push((name.to_owned(), number, body.to_vec()));
    });
    assert_eq!(found, [("web".to_owned(), 7, line.as_bytes().to_vec())]);
}

#[test]
fn an_outage_longer_than_the_queues_is_counted_where_it_happens() {
    let mut nats = Nats::start();
    nats.make_stream();
    let bounds = ["--max-in-flight-messages", "500"];
    let relay = Relay::start(&[&["--nats-url", &nats.url()][..], &bounds].concat());
    wait_for("the stream", || {
        relay.get("/health").unwrap().contains("reachable")
    });
    let builder = Writer::builder(relay.socket()).delivery(Delivery::AtLeastOnce);
    let writer = builder.max_queued_messages(1_000).start().unwrap();
    nats.kill();
    let (mut taken, mut refused) = (Vec::new(), 0);
    for number in 1..=5_000 {
        match writer.try_send(message("web", number)) {
            Ok(()) => taken.push(number),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 0);
    assert_eq!(writer.metrics().dropped.full.messages, refused);
    wait_for("the outage", || {
        relay
            .get("/health")
            .unwrap()
            .contains("stream unreachable for")
    });
    nats.restart();
    assert_eq!(writer.shutdown(PATIENCE).unwrap().left.messages, 0);
    let mut numbers = Vec::new();
    nats.read("messages.>", |_, number, _| numbers.push(number));
    // 5,000 = refused by the queue + stored in the stream.
    assert_eq!(numbers, taken);
    let repeated = relay.figure("repeated_total");
    assert_eq!(
        relay.figure("acknowledged_total") + repeated,
        relay.figure("accepted_total")
    );
    assert!(relay.figure("acknowledged_total") <= u64::try_from(taken.len()).unwrap());
}

#[test]
fn who_repeats_is_told_in_the_log() {
    let nats = Nats::start();
    nats.make_stream();
    let relay = Relay::start(&["--nats-url", &nats.url()]);
    for numbers in [vec![5], vec![4, 5, 6]] {
        let writer = writer(&relay.socket());
        for number in numbers {
            writer
                .send_timeout(message("web", number), PATIENCE)
                .unwrap();
        }
        assert_eq!(writer.shutdown(PATIENCE).unwrap().left.messages, 0);
    }
    let figures = ["repeated_total", "acknowledged_total"].map(|name| relay.figure(name));
    assert_eq!(figures, [2, 2]);
    wait_for("the log", || {
        let log = relay.log();
        log.contains("numbers were not above the last") && log.contains("of web, which stands at 5")
    });
}

/// Servers have had faults there: some store what follows a message that they refused for want of
/// room; some find no message any more at the subject of one that they refused.
#[test]
fn a_full_account_leads_to_no_disorder_and_gaps_are_counted() {
    const MESSAGES: u64 = 400;
    let account = |room: &str| {
        let user = "users: [{ user: u, password: p }]";
        format!(
            "accounts {{ A: {{ jetstream: {{ max_file: {room}, max_mem: 1K }}, {user} }} }}\nno_auth_user: u"
        )
    };
    let mut nats = Nats::with(&account("200K"));
    nats.make_stream();
    let relay = Relay::start(&["--nats-url", &nats.url()]);
    let writer = writer(&relay.socket());
    for number in 1..=MESSAGES {
        let len = if number == 250 { 180_000 } else { 100 };
        let text = format!("web {number} {}", "x".repeat(len));
        writer.send_timeout(text, PATIENCE).unwrap();
    }
    wait_for("an end, or a refusal", || {
        let refused = |reason| relay.figure(&format!("refused_total{{reason=\"{reason}\"}}"));
        relay.settled() == MESSAGES || refused("refused") + refused("blocked") > 2
    });
    nats.kill();
    nats.configure(&account("1G"));
    nats.restart();
    assert_eq!(writer.shutdown(PATIENCE).unwrap().left.messages, 0);
    let mut numbers = Vec::new();
    nats.read("messages.>", |_, number, _| numbers.push(number));
    let without_the_gap = (1..=MESSAGES).filter(|number| *number != 250);
    let gaps = relay.figure("missing_total");
    match gaps {
        0 => assert_eq!(numbers, (1..=MESSAGES).collect::<Vec<_>>()),
        gaps => assert_eq!((gaps, numbers), (1, without_the_gap.collect())),
    }
}

#[test]
fn memory_is_bounded_whatever_the_engine_does() {
    const IN_FLIGHT: u64 = 2 * 1024 * 1024;
    let nats = Nats::start();
    nats.make_stream();
    let bounds = ["--max-in-flight-bytes", "2MiB"];
    let relay = Relay::start(&[&["--nats-url", &nats.url()][..], &bounds].concat());
    wait_for("the stream", || {
        relay.get("/health").unwrap().contains("stream reachable")
    });
    let before = relay.process.as_ref().unwrap().resident();
    nats.signal(Signal::SIGSTOP);
    // 80 MiB in their queues.
    let writers: Vec<_> = (0..8).map(|_| writer(&relay.socket())).collect();
    let text = "x".repeat(1024);
    for number in 1..=10_000 {
        for (name, writer) in writers.iter().enumerate() {
            writer.try_send(format!("p{name} {number} {text}")).unwrap();
        }
    }
    wait_for("the bound", || relay.figure("in_flight_bytes") >= IN_FLIGHT);
    pause(Duration::from_secs(3));
    // At most a batch more, of 1 MiB.
    assert!(relay.figure("in_flight_bytes") <= IN_FLIGHT + 1024 * 1024);
    let more = relay
        .process
        .as_ref()
        .unwrap()
        .resident()
        .saturating_sub(before);
    println!("{before} bytes, {more} more while the engine stands still");
    assert!(more < 32 * 1024 * 1024, "{more}");
    nats.signal(Signal::SIGCONT);
    for writer in writers {
        assert_eq!(writer.shutdown(PATIENCE).unwrap().left.messages, 0);
    }
    let mut last = [0; 8];
    nats.read("messages.>", |name, number, _| {
        let last = &mut last[name[1..].parse::<usize>().unwrap()];
        assert_eq!(number, *last + 1);
        *last = number;
    });
    assert_eq!(last, [10_000; 8]);
}

#[test]
fn a_stream_that_forgets_what_is_consumed_is_refused() {
    let nats = Nats::start();
    nats.make_stream_of(Config {
        name: STREAM.to_owned(),
        subjects: vec!["messages.>".to_owned()],
        retention: RetentionPolicy::WorkQueue,
        ..Config::default()
    });
    let relay = Relay::start(&["--nats-url", &nats.url(), "--create-stream"]);
    let writer = writer(&relay.socket());
    writer.send_timeout(message("web", 1), PATIENCE).unwrap();
    wait_for("the refusal", || {
        relay
            .get("/health")
            .unwrap()
            .contains("forgets what is consumed")
    });
    assert_eq!(relay.figure("published_total"), 0);
    let _ = writer.shutdown(Duration::ZERO);
}

#[test]
fn a_stream_that_is_made_anew_as_another_kind_is_refused() {
    let nats = Nats::start();
    nats.make_stream();
    let relay = Relay::start(&["--nats-url", &nats.url()]);
    let writer = writer(&relay.socket());
    writer.send_timeout(message("web", 1), PATIENCE).unwrap();
    wait_for("the first", || relay.figure("acknowledged_total") == 1);
    nats.ask(async |context| context.delete_stream(STREAM).await.unwrap());
    nats.make_stream_of(Config {
        name: STREAM.to_owned(),
        subjects: vec!["messages.>".to_owned()],
        retention: RetentionPolicy::WorkQueue,
        ..Config::default()
    });
    writer.send_timeout(message("web", 2), PATIENCE).unwrap();
    wait_for("the refusal", || {
        relay
            .get("/health")
            .unwrap()
            .contains("forgets what is consumed")
    });
    assert_eq!(writer.shutdown(Duration::ZERO).unwrap().left.messages, 1);
    assert_eq!(relay.figure("acknowledged_total"), 1);
}

#[test]
fn a_stream_that_has_lost_messages_is_counted() {
    let nats = Nats::start();
    nats.make_stream();
    let relay = Relay::start(&["--nats-url", &nats.url()]);
    let writer = writer(&relay.socket());
    writer.send_timeout(message("web", 1), PATIENCE).unwrap();
    wait_for("the first", || relay.figure("acknowledged_total") == 1);
    // What its limits or its operator have removed is not lost.
    nats.ask(async |context| {
        let stream = context.get_stream(STREAM).await.unwrap();
        stream.purge().await.unwrap();
    });
    writer.send_timeout(message("web", 2), PATIENCE).unwrap();
    wait_for("the second", || relay.figure("acknowledged_total") == 2);
    assert_eq!(relay.figure("went_back_total"), 0);
    nats.ask(async |context| context.delete_stream(STREAM).await.unwrap());
    nats.make_stream();
    writer.send_timeout(message("web", 3), PATIENCE).unwrap();
    assert_eq!(writer.shutdown(PATIENCE).unwrap().left.messages, 0);
    assert_eq!(relay.figure("went_back_total"), 1);
    assert!(
        relay.log().contains("the stream has lost messages"),
        "{}",
        relay.log()
    );
}

#[test]
fn a_producer_whose_subject_others_write_to_holds_up_nobody_else() {
    let nats = Nats::start();
    nats.make_stream();
    nats.ask(async |context| {
        context
            .publish("messages.bad", "not ours".into())
            .await
            .unwrap()
            .await
            .unwrap();
    });
    let relay = Relay::start(&["--nats-url", &nats.url()]);
    let bad = writer(&relay.socket());
    bad.send_timeout(message("bad", 1), PATIENCE).unwrap();
    let sent = Producer::start(&relay.socket(), &["good"], 10_000).end();
    let mut found = Found::default();
    nats.read("messages.good", |name, number, body| {
        found.look(name, number, body);
    });
    found.compare(&sent).unwrap();
    wait_for("the log", || relay.log().contains("a producer is blocked"));
    assert_eq!(relay.figure("blocked_producers"), 1);
    let health = relay.get("/health").unwrap();
    assert!(
        health.ends_with("stream reachable, producers blocked: 1\n"),
        "{health}"
    );
    assert_eq!(bad.shutdown(Duration::ZERO).unwrap().left.messages, 1);
}

#[test]
fn more_names_than_are_remembered_arrive() {
    let nats = Nats::start();
    nats.make_stream();
    let relay = Relay::start(&["--nats-url", &nats.url(), "--max-producers", "10"]);
    let writer = writer(&relay.socket());
    for round in 1..=2 {
        for name in 0..200 {
            writer
                .send_timeout(message(&format!("p{name}"), round), PATIENCE)
                .unwrap();
        }
    }
    assert_eq!(writer.shutdown(PATIENCE).unwrap().left.messages, 0);
    let sent: Vec<_> = (0..200).map(|name| (format!("p{name}"), 2)).collect();
    nats.compare(&sent).unwrap();
}
