//! The results as a person reads them: four tables, and a line on what each is.
//! Text only.

use std::fmt::Write;

use hdrhistogram::Histogram;

use super::cases::PACED_SIZE;
use super::machine::{BUILD, Machine, VERSION};
use super::numbers::{Spread, float};
use super::paced::Paced;
use super::results::{Results, Row, ToUnix};

/// Said of a debug build, in the report and on standard error.
pub(super) const DEBUG_BUILD: &str =
    "THIS IS A DEBUG BUILD: these figures say nothing. Build it with --release.";

pub(super) fn of(results: &Results) -> String {
    let mut text = title(&results.machine);
    if let Some(load) = results.machine.load {
        let _ = write!(text, ", load {load:.2} before");
    }
    text.push('\n');
    if cfg!(debug_assertions) {
        let _ = writeln!(text, "{DEBUG_BUILD}");
    }
    let _ = writeln!(
        text,
        "{} rounds, in each all by turns; two processes; medians, with lowest–highest in brackets.",
        results.plan.rounds
    );
    let streams = results.plan.names_streams();
    text.push_str(if beside_unix(&results.rows) {
        "\nThroughput, and how many times that of the raw stream, of pieces framed by their sender \
         (\"staged\"; also\nfor a vector each message), of what is written by hand, and of the same over a \
         Unix socket.\n"
    } else if streams {
        "\nThroughput, and how many times that of the raw stream, of pieces framed by their sender \
         (\"staged\"; also\nfor a vector each message), and of what is written by hand.\n"
    } else {
        "\nThroughput, and how many times that of the raw socket, of pieces framed by their sender \
         (\"staged\"; also\nfor a vector each message), and of what is written by hand.\n"
    });
    text.push_str(&throughput(&results.rows, streams));
    text.push_str(
        "\nProcessor seconds for a million messages, both processes together; how many processors were \
         at work; and\nhow long a cache line takes from one to another and back.\n",
    );
    text.push_str(&processor_time(&results.rows, streams));
    let _ = writeln!(
        text,
        "\nHand-off: how long try_send takes, {PACED_SIZE} bytes at a steady rate; {} of it is the clock.\n\
         \"waking\" is a bare channel's try_send that wakes its receiver.",
        time(results.timer)
    );
    let handoff = times(&results.paced, streams, "waking", |paced| &paced.handoff);
    text.push_str(&handoff);
    text.push_str(
        "\nLatency: from before try_send until the handler in the other process, the same messages.\n",
    );
    text.push_str(&times(&results.paced, streams, "", |paced| &paced.latency));
    text
}

/// The version and the machine, in a line.
pub(super) fn title(machine: &Machine) -> String {
    let mut text = format!(
        "uds-ipc {VERSION}, {BUILD} build, {}, {} processors",
        machine.kernel, machine.processors
    );
    if let Some(model) = &machine.model {
        let _ = write!(text, " ({model})");
    }
    text
}

/// A length, as the tables and the picture name it.
pub(super) fn size(bytes: usize) -> String {
    match bytes {
        _ if bytes >= 1 << 20 && bytes % (1 << 20) == 0 => format!("{} MiB", bytes >> 20),
        _ if bytes >= 1 << 10 && bytes % (1 << 10) == 0 => format!("{} KiB", bytes >> 10),
        _ => format!("{bytes} B"),
    }
}

/// Whether the Unix socket is one of several streams.
fn beside_unix(rows: &[Row]) -> bool {
    rows.iter().any(|row| row.to_unix.is_some())
}

fn throughput(rows: &[Row], streams: bool) -> String {
    let mut head = vec![
        "size",
        "producers",
        "messages/s",
        "",
        "bytes/s",
        "of raw",
        "",
        "of staged",
        "",
        "owned",
        "of hand-written",
        "",
    ];
    if streams {
        head.insert(2, "stream");
    }
    if beside_unix(rows) {
        head.extend(["of unix", ""]);
    }
    let lines = rows.iter().map(|row| {
        let mut cells = vec![
            size(row.case.size),
            row.case.producers.to_string(),
            short(row.ours.median),
            ends(row.ours, short),
            short(row.bytes(row.ours).median),
            ratio(row.raw_ratio.median),
            ends(row.raw_ratio, ratio),
            ratio(row.staged_ratio.median),
            ends(row.staged_ratio, ratio),
            ratio(row.owned_staged_ratio.median),
            ratio(row.handwritten_ratio.median),
            ends(row.handwritten_ratio, ratio),
        ];
        if streams {
            cells.insert(2, row.case.stream.name().to_owned());
        }
        if let Some(ToUnix { ours, .. }) = row.to_unix {
            cells.extend([ratio(ours.median), ends(ours, ratio)]);
        }
        cells
    });
    table(&head, lines)
}

fn processor_time(rows: &[Row], streams: bool) -> String {
    let mut head = vec![
        "size",
        "producers",
        "uds-ipc",
        "",
        "staged",
        "",
        "hand-written",
        "",
        "processors",
        "cache line",
    ];
    if streams {
        head.insert(2, "stream");
    }
    if beside_unix(rows) {
        head.extend(["of unix", ""]);
    }
    let lines = rows.iter().map(|row| {
        let (ours, handwritten) = (
            row.cpu_seconds_per_million,
            row.handwritten_cpu_seconds_per_million,
        );
        let mut cells = vec![
            size(row.case.size),
            row.case.producers.to_string(),
            ratio(ours.median),
            ends(ours, ratio),
            ratio(row.staged_cpu_seconds_per_million.median),
            ends(row.staged_cpu_seconds_per_million, ratio),
            ratio(handwritten.median),
            ends(handwritten, ratio),
            ratio(row.placement.processors.median),
            row.placement
                .cache_line
                .map_or_else(String::new, |spread| format!("{:.0} ns", spread.median)),
        ];
        if streams {
            cells.insert(2, row.case.stream.name().to_owned());
        }
        if let Some(ToUnix { cpu, .. }) = row.to_unix {
            cells.extend([ratio(cpu.median), ends(cpu, ratio)]);
        }
        cells
    });
    table(&head, lines)
}

/// With a column for the bare channel, if that has a name.
fn times(
    all: &[Paced],
    streams: bool,
    other: &str,
    of: impl Fn(&Paced) -> &Histogram<u64>,
) -> String {
    let mut head = vec!["messages/s", "reached", "p50", "p99", "p99.9", "max", other];
    if streams {
        head.insert(1, "stream");
    }
    let lines = all.iter().map(|paced| {
        let times = of(paced);
        let at = |quantile| time(times.value_at_quantile(quantile));
        let waking = time(paced.waking.value_at_quantile(0.5));
        let mut cells = vec![
            paced.rate.to_string(),
            format!("{:.0}", Spread::of(paced.reached.iter().copied()).median),
            at(0.5),
            at(0.99),
            at(0.999),
            time(times.max()),
            if other.is_empty() {
                String::new()
            } else {
                waking
            },
        ];
        if streams {
            cells.insert(1, paced.stream.name().to_owned());
        }
        cells
    });
    table(&head, lines)
}

fn ends(spread: Spread, form: fn(f64) -> String) -> String {
    format!("({}–{})", form(spread.lowest), form(spread.highest))
}

/// Three figures that count, and a letter for the thousands.
pub(super) fn short(number: f64) -> String {
    let (scaled, letter) = match number {
        _ if number >= 1e9 => (number / 1e9, " G"),
        _ if number >= 1e6 => (number / 1e6, " M"),
        _ if number >= 1e3 => (number / 1e3, " k"),
        _ => (number, ""),
    };
    ratio(scaled) + letter
}

fn ratio(number: f64) -> String {
    let decimals = match number {
        _ if number >= 100.0 => 0,
        _ if number >= 10.0 => 1,
        _ if number >= 0.1 => 2,
        _ => 3,
    };
    format!("{number:.decimals$}")
}

fn time(nanoseconds: u64) -> String {
    let nanoseconds = float(nanoseconds);
    match nanoseconds {
        _ if nanoseconds >= 1e9 => ratio(nanoseconds / 1e9) + " s",
        _ if nanoseconds >= 1e6 => ratio(nanoseconds / 1e6) + " ms",
        _ if nanoseconds >= 1e3 => ratio(nanoseconds / 1e3) + " µs",
        _ => format!("{nanoseconds} ns"),
    }
}

/// Columns that are aligned on the right.
fn table(head: &[&str], lines: impl Iterator<Item = Vec<String>>) -> String {
    let head = head.iter().map(|name| (*name).to_owned()).collect();
    let lines: Vec<Vec<String>> = [head].into_iter().chain(lines).collect();
    let columns = lines.first().map_or(0, Vec::len);
    let widths: Vec<_> = (0..columns)
        .map(|column| {
            lines
                .iter()
                .filter_map(|line| line.get(column))
                .map(|cell| cell.chars().count())
                .max()
        })
        .map(Option::unwrap_or_default)
        .collect();
    let mut text = String::new();
    for line in &lines {
        let cells = line
            .iter()
            .zip(&widths)
            .map(|(cell, &width)| format!("  {cell:>width$}"));
        text.push_str(cells.collect::<String>().trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_figures_that_count() {
        let said = [61_234_567.0, 950_400.0, 12.34, 2.5e9].map(short);
        assert_eq!(said, ["61.2 M", "950 k", "12.3", "2.50 G"]);
        assert_eq!(
            [35, 1_234, 20_000_000, 1_500_000_000].map(time),
            ["35 ns", "1.23 µs", "20.0 ms", "1.50 s"]
        );
        assert_eq!(
            [16, 1000, 1024, 102_400, 10 << 20].map(size),
            ["16 B", "1000 B", "1 KiB", "100 KiB", "10 MiB"]
        );
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let lines =
            [["1", "µs", "x"], ["100", "", ""]].map(|line| line.map(str::to_owned).to_vec());
        assert_eq!(
            table(&["a", "b", ""], lines.into_iter()),
            "    a   b\n    1  µs  x\n  100\n"
        );
    }
}
