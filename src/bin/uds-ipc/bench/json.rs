//! The results as one JSON object.
//! Values: the keys are part of what the tool promises.

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use super::cases::{PACED_SIZE, QUEUE_SIZE, Stream};
use super::ends::{PIPE_SIZE, RECV_BUFFER_SIZE, SEND_BUFFER_SIZE};
use super::handwritten::SLOTS;
use super::machine::{BUILD, VERSION};
use super::numbers::Spread;
use super::paced::Paced;
use super::results::{Results, Row, ToUnix};

pub(super) fn of(results: &Results) -> Value {
    let machine = &results.machine;
    // The Unix socket alone is what is meant without a word.
    let named = |stream: Stream, mut object: Map<String, Value>| {
        if results.plan.names_streams() {
            object.insert("stream".into(), stream.name().into());
        }
        Value::from(object)
    };
    let rows = results.rows.iter();
    let paced = || results.paced.iter();
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
            "send_buffer_size": SEND_BUFFER_SIZE,
            "tcp_recv_buffer_size": RECV_BUFFER_SIZE,
            "pipe_size": PIPE_SIZE,
            "max_queued_bytes": QUEUE_SIZE,
            "handwritten_slots": SLOTS,
        },
        "throughput": rows.map(|row| named(row.case.stream, throughput(row))).collect::<Value>(),
        "timer_ns": results.timer,
        "handoff": paced().map(|row| named(row.stream, handoff(row))).collect::<Value>(),
        "latency": paced().map(|row| named(row.stream, times(row, &row.latency))).collect::<Value>(),
    })
}

fn throughput(row: &Row) -> Map<String, Value> {
    let mut figures = vec![
        ("messages_per_second", row.ours),
        ("bytes_per_second", row.bytes(row.ours)),
        ("owned_messages_per_second", row.owned),
        ("raw_bytes_per_second", row.bytes(row.raw)),
        ("staged_messages_per_second", row.staged),
        ("handwritten_messages_per_second", row.handwritten),
        ("raw_ratio", row.raw_ratio),
        ("staged_ratio", row.staged_ratio),
        ("owned_staged_ratio", row.owned_staged_ratio),
        ("handwritten_ratio", row.handwritten_ratio),
        ("cpu_seconds_per_million", row.cpu_seconds_per_million),
        (
            "staged_cpu_seconds_per_million",
            row.staged_cpu_seconds_per_million,
        ),
        (
            "handwritten_cpu_seconds_per_million",
            row.handwritten_cpu_seconds_per_million,
        ),
    ];
    if let Some(ToUnix {
        ours,
        raw,
        cpu,
        raw_cpu,
    }) = row.to_unix
    {
        figures.extend([
            ("unix_ratio", ours),
            ("raw_unix_ratio", raw),
            ("cpu_unix_ratio", cpu),
            ("raw_cpu_unix_ratio", raw_cpu),
        ]);
    }
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
    let placement = &row.placement;
    object.insert(
        "placement".into(),
        json!({
            "processors": placement.processors.median,
            "staged_processors": placement.staged_processors.median,
            "cache_line_ns": placement.cache_line.map(|spread| spread.median),
            "cache_line_spread_ns": placement.cache_line.map(ends),
        }),
    );
    object
}

fn ends(spread: Spread) -> Value {
    json!([spread.lowest, spread.highest])
}

fn handoff(paced: &Paced) -> Map<String, Value> {
    let mut object = times(paced, &paced.handoff);
    object.insert(
        "waking_p50_ns".into(),
        paced.waking.value_at_quantile(0.5).into(),
    );
    object
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
