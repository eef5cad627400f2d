//! The way through the relay beside the same client publishing directly with the same
//! acknowledgements, in turns, on one server: `cargo bench --bench speed -- --bench`.
//!
//! Direct, with ids: what an exact publisher has at least to send. Direct, bare: without headers.
//! `UDS_IPC_RELAY_MESSAGES` sets how many messages a round has.

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
use support::relay::Relay;

/// Unacknowledged messages of one direct publisher; the relay has as many for one producer.
const WINDOW: usize = 4_096;
const LEN: usize = 200;

fn main() {
    // `cargo test --benches` and `cargo bench -- --test` run one small round.
    let is_real = std::env::args().any(|argument| argument == "--bench")
        && !std::env::args().any(|argument| argument == "--test");
    let messages = std::env::var("UDS_IPC_RELAY_MESSAGES").map(|text| text.parse().unwrap());
    let messages: u64 = messages.unwrap_or(if is_real { 200_000 } else { 2_000 });
    let rounds = if is_real { 7 } else { 1 };
    for producers in [1, 8] {
        let nats = Nats::start();
        nats.make_stream();
        let relay = Relay::start(&["--nats-url", &nats.url()]);
        let runtime = Runtime::new().unwrap();
        let context = runtime.block_on(async {
            let client = async_nats::connect(nats.url()).await.unwrap();
            ContextBuilder::new()
                .max_ack_inflight(WINDOW * 16)
                .build(client)
        });
        let mut rates: [Vec<f64>; 3] = Default::default();
        for round in 1..=rounds {
            let each = messages / producers;
            rates[0].push(through_the_relay(&relay, producers, each, round));
            rates[1].push(runtime.block_on(direct(&context, producers, each, round, true)));
            rates[2].push(runtime.block_on(direct(&context, producers, each, round, false)));
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
        let [through, with_ids, bare] = rates.map(median);
        println!(
            "{producers} producers, {LEN} B: {through:.0}/s through the relay, {with_ids:.0}/s direct with ids ({:.2}), {bare:.0}/s direct and bare ({:.2})",
            through / with_ids,
            through / bare
        );
    }
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

fn rate(messages: u64, time: Duration) -> f64 {
    f64::from(u32::try_from(messages).unwrap()) / time.as_secs_f64()
}

fn through_the_relay(relay: &Relay, producers: u64, each: u64, round: u64) -> f64 {
    let body = "x".repeat(LEN);
    let begin = Instant::now();
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
    rate(each * producers, begin.elapsed())
}

async fn direct(context: &Context, producers: u64, each: u64, round: u64, with_ids: bool) -> f64 {
    let body = bytes::Bytes::from("x".repeat(LEN));
    let begin = Instant::now();
    let mut tasks = Vec::new();
    for producer in 0..producers {
        let (context, body) = (context.clone(), body.clone());
        tasks.push(tokio::spawn(async move {
            let name = format!("d{producer}.{round}.{with_ids}");
            let subject = async_nats::Subject::from(format!("foreign.{name}"));
            let mut acks = VecDeque::new();
            for number in 1..=each {
                let mut message = PublishMessage::build().payload(body.clone());
                if with_ids {
                    message = message.message_id(format!("{name}-{number}"));
                }
                acks.push_back(
                    context
                        .send_publish(subject.clone(), message)
                        .await
                        .unwrap(),
                );
                if acks.len() >= WINDOW {
                    acks.pop_front().unwrap().await.unwrap();
                }
            }
            for ack in acks {
                ack.await.unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    rate(each * producers, begin.elapsed())
}
