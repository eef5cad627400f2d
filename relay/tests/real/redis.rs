//! Redis Streams: the same faults, and what is Redis's own.

use std::time::Duration;

use fastrand::Rng;
use nix::sys::signal::Signal;
use redis::Commands;

use crate::faults::{faults, some_time};
use crate::support::producer::{Producer, message, writer};
use crate::support::proxy::Proxy;
use crate::support::redis::Redis;
use crate::support::relay::Relay;
use crate::support::{PATIENCE, wait_for};

#[test]
fn whatever_is_killed_each_entry_is_added_once_and_in_order() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = Rng::with_seed(seed);
    let mut redis = Redis::start();
    let proxy = Proxy::to(redis.port);
    let url = format!("redis://127.0.0.1:{}", proxy.port);
    let mut relay = Relay::start(&["--to", "redis", "--redis-url", &url]);
    let names: [&[&str]; 4] = [&["web"], &["db.1"], &["db.2"], &["mail", "mail-log"]];
    let start = |names: &&[&str]| Producer::start(&relay.socket(), names, 10_000);
    let producers: Vec<_> = names.iter().map(start).collect();
    // It loads its file after each kill, which takes longer and longer.
    let count = faults().min(60);
    for number in 0..count {
        some_time(&mut rng, 50..300);
        match number % 4 {
            0 => {
                redis.kill();
                some_time(&mut rng, 1..100);
                redis.restart();
            }
            1 => {
                relay.kill();
                relay.begin();
            }
            2 => proxy.cut(),
            _ => {
                redis.signal(Signal::SIGSTOP);
                some_time(&mut rng, 5..60);
                relay.kill();
                relay.begin();
                some_time(&mut rng, 1..150);
                redis.signal(Signal::SIGCONT);
            }
        }
    }
    let sent: Vec<_> = producers.into_iter().flat_map(Producer::end).collect();
    assert_eq!(relay.figure("went_back_total"), 0, "{}", relay.log());
    let compared = redis.compare(&sent);
    let messages = compared.unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
    println!("{count} faults, {messages} entries, each once and in order");
    assert_eq!(relay.settled(), relay.figure("accepted_total"));
}

#[test]
fn entries_that_were_trimmed_or_are_none_of_ours_are_minded() {
    let redis = Redis::start();
    let relay = Relay::start(&[
        "--to",
        "redis",
        "--redis-url",
        &redis.url(),
        "--redis-max-len",
        "100",
    ]);
    let mut connection = redis.connection();
    // A key that is no stream is its operator's too.
    let _: () = connection.set("messages:text", "text").unwrap();
    let other = writer(&relay.socket());
    other.send_timeout(message("text", 1), PATIENCE).unwrap();
    wait_for("the log", || relay.log().contains("a key is no stream"));
    assert_eq!(other.shutdown(Duration::ZERO).unwrap().left.messages, 1);
    let _: String = connection
        .xadd("messages:bad", "5-7", &[("a", "b")])
        .unwrap();
    let writer = writer(&relay.socket());
    writer.send_timeout(message("bad", 9), PATIENCE).unwrap();
    for number in 1..=5_000 {
        writer
            .send_timeout(message("good", number), PATIENCE)
            .unwrap();
    }
    wait_for("the good ones", || relay.settled() >= 5_000);
    wait_for("the bad one", || {
        relay.figure("refused_total{reason=\"blocked\"}") > 0
    });
    let kept: usize = connection.xlen("messages:good").unwrap();
    assert!((100..1_000).contains(&kept), "{kept}");
    // The bad one goes when its stream is cleared.
    let _: () = connection.del("messages:bad").unwrap();
    assert_eq!(writer.shutdown(PATIENCE).unwrap().left.messages, 0);
    let count: usize = connection.xlen("messages:bad").unwrap();
    assert_eq!(count, 1);
}

#[test]
fn what_redis_has_no_memory_for_waits() {
    let redis = Redis::start();
    let relay = Relay::start(&["--to", "redis", "--redis-url", &redis.url()]);
    let mut connection = redis.connection();
    let mut limit = |bytes: &str| {
        let mut set = redis::cmd("CONFIG");
        set.arg("SET").arg("maxmemory").arg(bytes);
        let _: () = set.query(&mut connection).unwrap();
    };
    let producer = Producer::start(&relay.socket(), &["web"], 10_000);
    limit("1");
    wait_for("a refusal", || {
        relay.figure("refused_total{reason=\"refused\"}") > 0
    });
    wait_for("the refusal's text", || {
        let health = relay.get("/health").unwrap();
        health.contains("unreachable for") && health.contains("refused: ")
    });
    limit("0");
    redis.compare(&producer.end()).unwrap();
    assert!(relay.get("/health").unwrap().contains("stream reachable"));
}
