//! `bench`: that all its figures are there, and nothing is left behind.

use std::fs;
use std::io::Read;
use std::process::Stdio;
use std::time::Duration;

use crossbeam_channel::tick;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::stage::{Place, Tool};

/// As short as a run can be: the figures are none, but all of them are there.
const SHORT_BENCH: [&str; 7] = [
    "bench",
    "--size",
    "16,1000",
    "--producers",
    "1,2",
    "--seconds",
    "0.5",
];

/// A run that goes on until somebody ends it.
const LONG_BENCH: [&str; 5] = ["bench", "--size", "16", "--seconds", "3600"];

/// The keys of an object are these, and their values numbers above zero.
#[track_caller]
fn assert_figures(object: &Value, names: &[&str]) {
    for name in names {
        let figure = object[name]
            .as_f64()
            .unwrap_or_else(|| panic!("no {name}: {object}"));
        assert!(figure > 0.0, "{name}: {object}");
    }
}

#[test]
fn a_bench_prints_all_its_figures() {
    let place = Place::new();
    let mut bench = place.tool(
        &[&SHORT_BENCH[..], &["--json"]].concat(),
        Stdio::null(),
        Stdio::piped(),
    );
    let mut text = String::new();
    bench.output().read_to_string(&mut text).unwrap();
    let ended = bench.end();
    ended.assert_code(0);
    assert!(
        !cfg!(debug_assertions) || ended.said.iter().any(|line| line.contains("DEBUG BUILD")),
        "{ended:?}"
    );

    let results: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(results["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(
        results["build"],
        if cfg!(debug_assertions) {
            "debug"
        } else {
            "release"
        }
    );
    assert_figures(&results["machine"], &["processors"]);
    assert_figures(
        &results["settings"],
        &["rounds", "turn_seconds", "paced_size", "send_buffer_size"],
    );
    assert!(
        results["settings"]["rounds"].as_u64() >= Some(7),
        "{results}"
    );
    assert_figures(&results, &["timer_ns"]);

    let throughput = results["throughput"].as_array().unwrap();
    let cases: Vec<_> = throughput
        .iter()
        .map(|row| (row["size"].as_u64(), row["producers"].as_u64()))
        .collect();
    assert_eq!(
        cases,
        [(16, 1), (16, 2), (1000, 1), (1000, 2)]
            .map(|(size, producers)| (Some(size), Some(producers)))
    );
    for row in throughput {
        let names = [
            "messages_per_second",
            "bytes_per_second",
            "owned_messages_per_second",
            "staged_messages_per_second",
            "raw_ratio",
            "staged_ratio",
            "owned_staged_ratio",
            "handwritten_ratio",
            "cpu_seconds_per_million",
            "staged_cpu_seconds_per_million",
            "handwritten_cpu_seconds_per_million",
        ];
        assert_figures(row, &names);
        let used = row["placement"]["processors"].as_f64();
        assert!(used > Some(0.0), "{row}");
        for name in names {
            let (ends, median) = (&row["spread"][name], row[name].as_f64());
            assert!(
                ends[0].as_f64() <= median && median <= ends[1].as_f64(),
                "{name}: {row}"
            );
        }
    }
    for list in ["handoff", "latency"] {
        let paced = results[list].as_array().unwrap();
        let rates: Vec<_> = paced.iter().map(|row| row["rate"].as_u64()).collect();
        assert_eq!(rates, [Some(1_000), Some(10_000), Some(200_000)]);
        for row in paced {
            assert_figures(
                row,
                &[
                    "p50_ns",
                    "p99_ns",
                    "p999_ns",
                    "max_ns",
                    "reached_rate",
                    "messages",
                ],
            );
            assert!(row["p50_ns"].as_u64() <= row["max_ns"].as_u64(), "{row}");
            assert_eq!(
                row.get("waking_p50_ns").is_some(),
                list == "handoff",
                "{row}"
            );
        }
    }
}

#[test]
fn a_bench_compares_streams() {
    let place = Place::new();
    let arguments = [
        "bench",
        "--stream",
        "unix,tcp,pipe",
        "--size",
        "100,20000",
        "--producers",
        "1",
        "--seconds",
        "0.5",
        "--json",
        "--plot",
        "p.svg",
    ];
    let mut bench = place.tool(&arguments, Stdio::null(), Stdio::piped());
    let mut text = String::new();
    bench.output().read_to_string(&mut text).unwrap();
    bench.end().assert_code(0);
    let results: Value = serde_json::from_str(&text).unwrap();

    let throughput = results["throughput"].as_array().unwrap();
    let cases: Vec<_> = throughput
        .iter()
        .map(|row| (row["size"].as_u64(), row["stream"].as_str()))
        .collect();
    let streams = ["unix", "tcp", "pipe"];
    let expected: Vec<_> = [100, 20_000]
        .into_iter()
        .flat_map(|size| streams.map(|stream| (Some(size), Some(stream))))
        .collect();
    assert_eq!(cases, expected);
    for row in throughput {
        assert_figures(
            row,
            &[
                "messages_per_second",
                "bytes_per_second",
                "raw_bytes_per_second",
                "handwritten_messages_per_second",
                "raw_ratio",
                "staged_ratio",
                "owned_staged_ratio",
                "handwritten_ratio",
                "cpu_seconds_per_million",
                "handwritten_cpu_seconds_per_million",
                "unix_ratio",
                "raw_unix_ratio",
                "cpu_unix_ratio",
                "raw_cpu_unix_ratio",
            ],
        );
        assert!(row["stream"] != "unix" || row["unix_ratio"] == 1.0, "{row}");
    }
    for list in ["handoff", "latency"] {
        let paced = results[list].as_array().unwrap();
        let rows: Vec<_> = paced
            .iter()
            .map(|row| (row["rate"].as_u64(), row["stream"].as_str()))
            .collect();
        let expected: Vec<_> = [1_000, 10_000, 200_000]
            .into_iter()
            .flat_map(|rate| streams.map(|stream| (Some(rate), Some(stream))))
            .collect();
        assert_eq!(rows, expected);
        for row in paced {
            assert_figures(row, &["p50_ns", "max_ns", "reached_rate", "messages"]);
        }
    }
    let picture = fs::read_to_string(place.path("p.svg")).unwrap();
    for words in ["raw, no frames, over tcp", "uds-ipc over pipe, 1 producer"] {
        assert!(picture.contains(words), "no {words}: {picture}");
    }
    assert_is_xml(&picture);
}

#[test]
fn a_bench_prints_tables_and_draws_a_picture() {
    let place = Place::new();
    let mut bench = place.tool(
        &[&SHORT_BENCH[..], &["--plot", "p.svg"]].concat(),
        Stdio::null(),
        Stdio::piped(),
    );
    let mut text = String::new();
    bench.output().read_to_string(&mut text).unwrap();
    bench.end().assert_code(0);
    for words in ["1000 B", "of hand-written", "200000", "Latency"] {
        assert!(text.contains(words), "no {words}: {text}");
    }
    let picture = fs::read_to_string(place.path("p.svg")).unwrap();
    for words in [
        "16 B",
        "1000 B",
        "uds-ipc, 2 producers",
        "raw socket",
        "written by hand, 1 producer",
    ] {
        assert!(picture.contains(words), "no {words}: {picture}");
    }
    assert_is_xml(&picture);
    let left: Vec<_> = fs::read_dir(&place.0)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["p.svg"]);
}

/// Every element that is opened is closed, in order, and nothing is left to be escaped.
#[track_caller]
fn assert_is_xml(text: &str) {
    let mut open = Vec::new();
    for tag in text.split('<').skip(1) {
        let (tag, between) = tag.split_once('>').unwrap();
        assert!(
            !between.contains('>') && between.matches('&').count() <= between.matches(';').count(),
            "{tag}"
        );
        let name = tag.split_whitespace().next().unwrap();
        if let Some(name) = name.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert!(
        open.is_empty() && text.starts_with("<svg ") && text.trim_end().ends_with("</svg>"),
        "{open:?}"
    );
}

#[test]
fn a_picture_that_cannot_be_written_is_said_before_the_run() {
    let place = Place::new();
    let arguments = [&LONG_BENCH[..], &["--plot", "none/p.svg"]].concat();
    let ended = place.tool(&arguments, Stdio::null(), Stdio::null()).end();
    ended
        .assert_code(1)
        .assert_said("cannot write the picture none/p.svg: no such file or directory");
}

/// The process that a tool has started, if there is one now: the bench's reader.
#[cfg(target_os = "linux")]
fn child_of(parent: &Tool) -> Option<i32> {
    let tasks = fs::read_dir(format!("/proc/{}/task", parent.child.id())).ok()?;
    let mut children =
        tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok());
    children.find_map(|children| children.split_whitespace().next()?.parse().ok())
}

#[cfg(target_os = "linux")]
fn wait_for_child(parent: &Tool) -> i32 {
    tick(Duration::from_millis(1))
        .iter()
        .find_map(|_| child_of(parent))
        .unwrap()
}

/// One that has ended, and that nobody has asked about yet, has no command line.
#[cfg(target_os = "linux")]
fn is_running(pid: i32) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

#[test]
#[cfg(target_os = "linux")]
fn a_bench_that_is_interrupted_leaves_nothing_behind() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let place = Place::new();
        let arguments = [&LONG_BENCH[..], &["--plot", "p.svg"]].concat();
        let bench = place.tool(&arguments, Stdio::null(), Stdio::null());
        let reader = wait_for_child(&bench);
        bench.signal(signal);
        bench.end().assert_code(1).assert_said("interrupted");
        assert!(!is_running(reader));
        assert_eq!(fs::read_dir(&place.0).unwrap().count(), 0, "files are left");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn the_reader_of_a_bench_that_is_killed_ends() {
    let place = Place::new();
    let bench = place.tool(&LONG_BENCH, Stdio::null(), Stdio::null());
    let reader = wait_for_child(&bench);
    bench.signal(Signal::SIGKILL);
    bench.end();
    let ended = tick(Duration::from_millis(1))
        .iter()
        .take(60_000)
        .any(|_| !is_running(reader));
    assert!(ended);
}

#[test]
#[cfg(target_os = "linux")]
fn a_bench_whose_reader_dies_says_so() {
    let place = Place::new();
    let mut bench = place.tool(&LONG_BENCH, Stdio::null(), Stdio::null());
    // One that has just done its work is not missed: each is killed, until one was.
    for _ in &tick(Duration::from_millis(1)) {
        if bench.child.try_wait().unwrap().is_some() {
            break;
        }
        if let Some(reader) = child_of(&bench) {
            let _ = kill(Pid::from_raw(reader), Signal::SIGKILL);
        }
    }
    bench
        .end()
        .assert_code(1)
        .assert_said("the reader's process ended in the middle of a turn: signal: 9");
}
