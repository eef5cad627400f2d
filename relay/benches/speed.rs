//! The way through the relay beside the same client publishing directly, in turns, on one server:
//! `cargo bench --bench speed -- --bench`.
//!
//! Exact: each message has its id, and expects that of the one before, as the relay's have. With
//! ids: without what is expected. Bare: without headers. Each of these asks for an acknowledgement
//! of each message; seldom: for as many as the relay, which rests upon what its messages expect.
//! Exact and seldom does what the relay does; with ids and seldom loses messages without a word.
//! `UDS_IPC_RELAY_MESSAGES` sets how many messages a round has. In short rounds the beginning
//! shows: for a producer that is new the relay asks where it stands.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "it measures, and fails where something is not as it must be"
)]
#![allow(dead_code, reason = "the tests need more of what they share")]

#[path = "../tests/real/support/mod.rs"]
mod support;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::{Context, context::ContextBuilder};
use tokio::runtime::Runtime;
use uds_ipc::{Delivery, Writer};

use support::PATIENCE;
use support::nats::{Nats, STREAM};
use support::process::Process;
use support::relay::Relay;

/// Unacknowledged messages of one direct publisher; the relay has as many for one producer.
const WINDOW: u64 = 4_096;
/// The relay asks for an acknowledgement about once in so many messages, where there are many.
const SELDOM: u64 = 128;
const LEN: usize = 200;

fn main() {
    // `cargo test --benches` and `cargo bench -- --test` run one small round.
    let is_real = std::env::args().any(|argument| argument == "--bench")
        && !std::env::args().any(|argument| argument == "--test");
    let messages = std::env::var("UDS_IPC_RELAY_MESSAGES").map(|text| text.parse().unwrap());
    let messages: u64 = messages.unwrap_or(if is_real { 800_000 } else { 2_000 });
    let rounds = if is_real { 5 } else { 1 };
    for producers in [1, 8] {
        let nats = Nats::start();
        nats.make_stream();
        let relay = Relay::start(&["--nats-url", &nats.url()]);
        let runtime = Runtime::new().unwrap();
        let context = runtime.block_on(async {
            let client = async_nats::connect(nats.url()).await.unwrap();
            ContextBuilder::new()
                .max_ack_inflight(16 * usize::try_from(WINDOW).unwrap())
                .build(client)
        });
        let ends = Ends {
            server: nats.process.as_ref().unwrap(),
            relay: relay.process.as_ref().unwrap(),
        };
        // What is expected is the stream's last message: several publishers would be in each
        // other's way, if they did not wait for each other as the relay's runs do.
        let direct_ways = match producers {
            1 => &WAYS[..],
            _ => &WAYS[2..],
        };
        let mut ways: Vec<Vec<Round>> = (0..=direct_ways.len()).map(|_| Vec::new()).collect();
        for round in 1..=rounds {
            let each = messages / producers;
            let sent = each * producers;
            // Each round begins with another way: what the server does behind the purge is not to
            // fall to one of them.
            for turn in 0..ways.len() {
                let index = (turn + usize::try_from(round - 1).unwrap()) % ways.len();
                let cost = match index.checked_sub(1).map(|index| direct_ways[index]) {
                    None => ends.measure(sent, || {
                        through_the_relay(&relay, producers, each, round);
                    }),
                    Some(way) => ends.measure(sent, || {
                        runtime.block_on(direct(&context, producers, each, round, way));
                    }),
                };
                ways[index].push(cost);
            }
            runtime.block_on(async {
                context
                    .get_stream(STREAM)
                    .await
                    .unwrap()
                    .purge()
                    .await
                    .unwrap();
            });
        }
        let of = |figure: fn(&Round) -> f64| -> Vec<f64> {
            ways.iter().map(|way| median(way, figure)).collect()
        };
        let (rates, server, clients) = (
            of(|round| round.rate),
            of(|round| round.server),
            of(|round| round.clients),
        );
        println!(
            "{producers} producers, {LEN} B; processor seconds of the server and its clients:"
        );
        for index in 0..ways.len() {
            let name = match index.checked_sub(1).map(|index| direct_ways[index]) {
                None => "through the relay".to_owned(),
                Some(way) => {
                    let headers = match way.headers {
                        Headers::Exact => "exact",
                        Headers::Id => "with ids",
                        Headers::None => "bare",
                    };
                    let seldom = if way.asks_seldom { ", seldom" } else { "" };
                    format!("direct, {headers}{seldom}")
                }
            };
            println!(
                "    {name}: {:.0}/s, the relay has {:.2} of that; {:.2} and {:.2} a million",
                rates[index],
                rates[0] / rates[index],
                server[index],
                clients[index],
            );
        }
    }
}

/// What a message that is published directly says of itself.
#[derive(Clone, Copy, Debug)]
enum Headers {
    Exact,
    Id,
    None,
}

/// How messages are published directly.
#[derive(Clone, Copy, Debug)]
struct Way {
    headers: Headers,
    /// Whether it asks for an acknowledgement once in so many messages as the relay does.
    asks_seldom: bool,
}

/// Those that only one producer can go, at the beginning.
const WAYS: [Way; 5] = [
    Way {
        headers: Headers::Exact,
        asks_seldom: false,
    },
    Way {
        headers: Headers::Exact,
        asks_seldom: true,
    },
    Way {
        headers: Headers::Id,
        asks_seldom: false,
    },
    Way {
        headers: Headers::Id,
        asks_seldom: true,
    },
    Way {
        headers: Headers::None,
        asks_seldom: false,
    },
];

/// What one round came to: messages a second, and processor seconds a million.
struct Round {
    rate: f64,
    server: f64,
    /// Of the relay, and of this process.
    clients: f64,
}

struct Ends<'a> {
    server: &'a Process,
    relay: &'a Process,
}

impl Ends<'_> {
    fn times(&self) -> (Duration, Duration) {
        let own = process_time("self");
        (
            process_time(&self.server.pid().to_string()),
            process_time(&self.relay.pid().to_string()) + own,
        )
    }

    fn measure(&self, messages: u64, act: impl FnOnce()) -> Round {
        let (begin, before) = (Instant::now(), self.times());
        act();
        let (rate, after) = (rate(messages, begin.elapsed()), self.times());
        let millions = f64::from(u32::try_from(messages).unwrap()) / 1e6;
        Round {
            rate,
            server: after.0.saturating_sub(before.0).as_secs_f64() / millions,
            clients: after.1.saturating_sub(before.1).as_secs_f64() / millions,
        }
    }
}

/// What a process has had of the processors, of which `/proc` says it in hundredths of a second.
fn process_time(process: &str) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // The name of the program is in parentheses, and may hold anything.
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let fields: Vec<_> = fields.split(' ').collect();
    let ticks = |index: usize| fields[index].parse::<u64>().unwrap();
    Duration::from_millis(10 * (ticks(11) + ticks(12)))
}

fn median(rounds: &[Round], figure: fn(&Round) -> f64) -> f64 {
    let mut figures: Vec<_> = rounds.iter().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn rate(messages: u64, time: Duration) -> f64 {
    f64::from(u32::try_from(messages).unwrap()) / time.as_secs_f64()
}

fn through_the_relay(relay: &Relay, producers: u64, each: u64, round: u64) {
    let body = "x".repeat(LEN);
    let threads = (0..producers).map(|producer| {
        let (socket, body) = (relay.socket(), body.clone());
        std::thread::spawn(move || {
            let builder = Writer::builder(socket).delivery(Delivery::AtLeastOnce);
            let builder = builder.write_timeout(PATIENCE).max_queued_messages(20_000);
            let writer = builder.start().unwrap();
            for number in 1..=each {
                let message = format!("p{producer}.{round} {number} {body}");
                writer.send_timeout(message, PATIENCE).unwrap();
            }
            assert_eq!(writer.shutdown(PATIENCE).unwrap().left.messages, 0);
        })
    });
    let threads: Vec<_> = threads.collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

async fn direct(context: &Context, producers: u64, each: u64, round: u64, way: Way) {
    let body = "x".repeat(LEN);
    let mut tasks = Vec::new();
    for producer in 0..producers {
        let (context, body) = (context.clone(), body.clone());
        tasks.push(tokio::spawn(async move {
            let name = format!("d{producer}.{round}.{:?}.{}", way.headers, way.asks_seldom);
            let subject = async_nats::Subject::from(format!("foreign.{name}"));
            let mut acks = VecDeque::new();
            for number in 1..=each {
                // Made anew, as the daemons behind the relay make theirs.
                let payload = format!("{number} {body}").into();
                let mut message = PublishMessage::build().payload(payload);
                if !matches!(way.headers, Headers::None) {
                    message = message.message_id(format!("{name}-{number}"));
                }
                if matches!(way.headers, Headers::Exact) && number > 1 {
                    message = message.expected_last_message_id(format!("{name}-{}", number - 1));
                }
                if way.asks_seldom && !number.is_multiple_of(SELDOM) && number != each {
                    publish_silently(&context, subject.clone(), message).await;
                    continue;
                }
                let ack = context.send_publish(subject.clone(), message).await;
                acks.push_back((number, ack.unwrap()));
                let is_due = |(asked, _): &(u64, _)| number - asked >= WINDOW - 1;
                if acks.front().is_some_and(is_due) {
                    acks.pop_front().unwrap().1.await.unwrap();
                }
            }
            for (_, ack) in acks {
                ack.await.unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

async fn publish_silently(
    context: &Context,
    subject: async_nats::Subject,
    message: PublishMessage,
) {
    let message = message.outbound_message(subject);
    let headers = message.headers.unwrap_or_default();
    let client = context.client();
    client
        .publish_with_headers(message.subject, headers, message.payload)
        .await
        .unwrap();
}
