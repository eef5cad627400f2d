//! The results as one JSON object.
//! Values: the keys are part of what the tool promises.

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use super::cases::{OWNED_SIZE, PACED_SIZE, QUEUE_SIZE};
use super::handwritten::SLOTS;
use super::machine::{BUILD, VERSION};
use super::numbers::Spread;
use super::paced::Paced;
use super::results::{Results, Row};
use super::sending::SEND_BUFFER_SIZE;

pub(super) fn of(results: &Results) -> Value {
    let machine = &results.machine;
    json!({
        "version": VERSION,
        "build": BUILD,
        "machine": {
            "processors": machine.processors,
            "model": machine.model,
            "kernel": machine.kernel,
            "load": machine.load,
        },
        "settings": {
            "seconds": results.time.as_secs_f64(),
            "rounds": results.plan.rounds,
            "turn_seconds": results.plan.turn.as_secs_f64(),
            "paced_turn_seconds": results.plan.paced_turn.as_secs_f64(),
            "paced_size": PACED_SIZE,
            "owned_size": OWNED_SIZE,
            "send_buffer_size": SEND_BUFFER_SIZE,
            "max_queued_bytes": QUEUE_SIZE,
            "handwritten_slots": SLOTS,
        },
        "throughput": results.rows.iter().map(throughput).collect::<Value>(),
        "timer_ns": results.timer,
        "handoff": results.paced.iter().map(handoff).collect::<Value>(),
        "latency": results.paced.iter().map(latency).collect::<Value>(),
    })
}

fn throughput(row: &Row) -> Value {
    let figures = [
        ("messages_per_second", row.ours),
        ("bytes_per_second", row.bytes(row.ours)),
        ("raw_bytes_per_second", row.bytes(row.raw)),
        ("handwritten_messages_per_second", row.handwritten),
        ("raw_ratio", row.raw_ratio),
        ("handwritten_ratio", row.handwritten_ratio),
        ("cpu_seconds_per_million", row.cpu_seconds_per_million),
        (
            "handwritten_cpu_seconds_per_million",
            row.handwritten_cpu_seconds_per_million,
        ),
    ];
    let mut object = Map::new();
    object.insert("size".into(), row.case.size.into());
    object.insert("producers".into(), row.case.producers.into());
    object.extend(
        figures
            .iter()
            .map(|(name, spread)| ((*name).to_owned(), spread.median.into())),
    );
    let spreads = figures
        .iter()
        .map(|(name, spread)| ((*name).to_owned(), ends(*spread)));
    object.insert("spread".into(), spreads.collect::<Map<_, _>>().into());
    object.into()
}

fn ends(spread: Spread) -> Value {
    json!([spread.lowest, spread.highest])
}

fn handoff(paced: &Paced) -> Value {
    let mut object = times(paced, &paced.handoff);
    object.insert(
        "waking_p50_ns".into(),
        paced.waking.value_at_quantile(0.5).into(),
    );
    object.into()
}

fn latency(paced: &Paced) -> Value {
    times(paced, &paced.latency).into()
}

fn times(paced: &Paced, times: &Histogram<u64>) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("rate".into(), paced.rate.into());
    object.insert(
        "reached_rate".into(),
        Spread::of(paced.reached.iter().copied()).median.into(),
    );
    object.insert("messages".into(), times.len().into());
    for (name, quantile) in [("p50_ns", 0.5), ("p99_ns", 0.99), ("p999_ns", 0.999)] {
        object.insert(name.into(), times.value_at_quantile(quantile).into());
    }
    object.insert("max_ns".into(), times.max().into());
    object
}
