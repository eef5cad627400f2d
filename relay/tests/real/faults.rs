//! Every message once and in order, whatever is killed: the stream is read back and compared,
//! number by number.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use fastrand::Rng;
use nix::sys::signal::Signal;

use crate::support::nats::Nats;
use crate::support::pause;
use crate::support::producer::{Found, Producer, message, writer};
use crate::support::proxy::Proxy;
use crate::support::relay::Relay;

/// How many faults, unless the environment says otherwise.
pub(crate) fn faults() -> u32 {
    let faults = std::env::var("UDS_IPC_RELAY_FAULTS");
    faults.map_or(16, |faults| faults.parse().unwrap())
}

pub(crate) fn some_time(rng: &mut Rng, milliseconds: std::ops::Range<u64>) {
    pause(Duration::from_millis(rng.u64(milliseconds)));
}

/// Somebody else who publishes into the same stream, with ids or without.
struct Foreigner {
    thread: thread::JoinHandle<()>,
    must_end: Arc<AtomicBool>,
}

impl Foreigner {
    fn start(nats: &Nats, interval: Duration) -> Self {
        let (url, must_end) = (nats.url(), Arc::new(AtomicBool::new(false)));
        let ends = Arc::clone(&must_end);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let options = async_nats::ConnectOptions::new().retry_on_initial_connect();
                let client = options.connect(url).await.unwrap();
                while !ends.load(Ordering::Relaxed) {
                    // Whether it arrives is not what is asked here.
                    let _ = client.publish("foreign.one", "something else".into()).await;
                    let _ = client.flush().await;
                    tokio::time::sleep(interval).await;
                }
            });
        });
        Self { thread, must_end }
    }

    fn end(self) {
        self.must_end.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

/// One fault after the other, of all kinds.
fn make_trouble(nats: &mut Nats, relay: &mut Relay, proxy: &Proxy, rng: &mut Rng, count: u32) {
    for number in 0..count {
        some_time(rng, 50..300);
        match number % 4 {
            0 => {
                nats.kill();
                some_time(rng, 1..100);
                nats.restart();
            }
            1 => {
                relay.kill();
                relay.begin();
            }
            2 => proxy.cut(),
            // What lies in the dead relay's socket competes with the new relay.
            _ => {
                nats.signal(Signal::SIGSTOP);
                some_time(rng, 5..60);
                relay.kill();
                relay.begin();
                some_time(rng, 1..150);
                nats.signal(Signal::SIGCONT);
            }
        }
        // Longer than the window for duplicates, the acknowledgements and the requests.
        if [9, 13].contains(&number) {
            nats.kill();
            pause(Duration::from_millis(2500));
            nats.restart();
        }
    }
}

#[test]
fn whatever_is_killed_each_message_is_stored_once_and_in_order() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = Rng::with_seed(seed);
    let mut nats = Nats::start();
    nats.make_stream();
    let proxy = Proxy::to(nats.port);
    let mut relay = Relay::start(&["--nats-url", &proxy.url()]);
    let foreigner = Foreigner::start(&nats, Duration::from_millis(2));
    let names: [&[&str]; 4] = [&["web"], &["db.1"], &["db.2"], &["mail", "mail-log"]];
    let producers: Vec<_> = names
        .iter()
        .map(|names| Producer::start(&relay.socket(), names, 40_000))
        .collect();
    make_trouble(&mut nats, &mut relay, &proxy, &mut rng, faults());
    let sent: Vec<_> = producers.into_iter().flat_map(Producer::end).collect();
    foreigner.end();
    let compared = nats.compare(&sent);
    let count = compared.unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
    println!(
        "{} faults, {count} messages, each once and in order",
        faults()
    );
    assert_eq!(relay.figure("went_back_total"), 0);
    assert_eq!(relay.settled(), relay.figure("accepted_total"));
    assert_eq!(relay.figure("in_flight_messages"), 0);
    let mut foreign = 0;
    nats.read("foreign.>", |_, _, _| foreign += 1);
    assert!(foreign > 0);
}

/// The server stands still with what it was sent. The relay dies, its successor comes when the
/// window for duplicates is over.
#[test]
#[cfg(feature = "faults")]
fn naive_repetition_is_caught_by_a_real_server() {
    let mut nats = Nats::start();
    nats.make_stream();
    let way = [("UDS_IPC_RELAY_WRONG", "naive")];
    let mut relay = Relay::start_with(&["--nats-url", &nats.url()], &way);
    let producer = Producer::start(&relay.socket(), &["web"], 1);
    // It shows where messages are on their way when the server stops: the producer pauses for 200
    // ms now and then.
    crate::support::wait_for("a wrong order", || {
        pause(Duration::from_millis(300));
        nats.signal(Signal::SIGSTOP);
        pause(Duration::from_millis(250));
        relay.kill();
        nats.signal(Signal::SIGCONT);
        pause(Duration::from_millis(1500));
        relay.restart();
        let mut found = Found::default();
        nats.read("messages.>", |name, number, body| {
            found.look(name, number, body);
        });
        found.is_wrong()
    });
    let sent = producer.end();
    println!("caught: {}", nats.compare(&sent).unwrap_err());
    nats.kill();
}

/// Each message of somebody else's shifts all positions that were foretold.
#[test]
#[cfg(feature = "faults")]
fn foretold_sequences_are_caught_by_a_real_server() {
    let nats = Nats::start();
    nats.make_stream();
    let way = [("UDS_IPC_RELAY_WRONG", "foretold")];
    let relay = Relay::start_with(&["--nats-url", &nats.url()], &way);
    let foreigner = Foreigner::start(&nats, Duration::from_millis(1));
    let writer = writer(&relay.socket());
    for number in 1..=10_000 {
        writer
            .send_timeout(message("web", number), crate::support::PATIENCE)
            .unwrap();
    }
    crate::support::wait_for("a hole", || {
        let mut found = Found::default();
        nats.read("messages.>", |name, number, body| {
            found.look(name, number, body);
        });
        found.is_wrong()
    });
    foreigner.end();
    let _ = writer.shutdown(Duration::ZERO);
}
