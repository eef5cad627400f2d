//! What arrives when systemd restarts a collector under load.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use signal_hook::consts::SIGTERM;
use signal_hook::iterator::Signals;
use uds_ipc::systemd::Service;
use uds_ipc::{Delivery, FlushLevel, Writer};

use super::machine::Machine;
use crate::collector::{assert_good, file_of, keep, received_by, repeats};
use crate::load::Load;
use crate::stage::{PATIENCE, part, stage};

const SOCKET: &str = "[Socket]\nListenStream=/run/x.sock\n";

/// How often the collector is ended while messages come. One more lives to the end.
const ENDS: usize = 30;

/// The parts: a collector, and who sends to it as fast as it can until there is a file called
/// `enough`.
fn play(place: &Path, delivery: Delivery) {
    if part() == "collect" {
        return collect(place);
    }
    let writer = Writer::builder("/run/x.sock")
        .delivery(delivery)
        .backoff_min(Duration::from_millis(1));
    // It waits in systemd's backlog meanwhile, however slow the machine: to give that connection up
    // would leave half a message in it.
    let writer = writer
        .backoff_max(Duration::from_millis(5))
        .write_timeout(PATIENCE);
    let writer = Arc::new(writer.start().unwrap());
    let load = Load::start(&writer);
    while !place.join("enough").exists() {
        thread::park_timeout(Duration::from_millis(10));
    }
    let sent = load.stop();
    if delivery == Delivery::AtLeastOnce {
        writer.flush(FlushLevel::Handled, PATIENCE).unwrap();
    }
    let report = writer.shutdown(PATIENCE).unwrap();
    let metrics = report.metrics;
    assert_eq!(
        (
            metrics.accepted.messages,
            metrics.sent,
            report.left.messages
        ),
        (sent, metrics.accepted, 0)
    );
    assert_eq!(metrics.failed.total().messages, 0);
    if delivery == Delivery::AtMostOnce {
        assert_eq!((metrics.resent.messages, metrics.lost_with_unread), (0, 0));
    }
    fs::write(place.join("sent"), sent.to_string()).unwrap();
}

fn collect(place: &Path) {
    let mut signals = Signals::new([SIGTERM]).unwrap();
    let process = (0..=ENDS)
        .take_while(|process| file_of(place, *process).exists())
        .count();
    let service = Service::start([keep(place, process, Duration::MAX)]);
    signals.forever().next();
    for report in service.shutdown(PATIENCE).unwrap() {
        assert_good(&report);
    }
    File::create(place.join(format!("good end of {process}"))).unwrap();
}

/// Ends a collector again and again while messages come. Says how many messages were sent, and how
/// many of them came again.
fn outlive(test: &'static str, end: &str, check: &str) -> Option<(u64, u64)> {
    let machine = Machine::new(test);
    machine.unit("x.socket", SOCKET);
    machine.role(
        "x.service",
        "collect",
        "Restart=always\nRestartSec=0\n[Unit]\nStartLimitIntervalSec=0",
    );
    let booted = machine.run(&format!(
        r#"
        systemctl start x.socket
        must is x.service ActiveState inactive
        role send & sender=$!
        for process in $(seq 0 {}); do
            wait_for [ -s "/box/place/records of $process" ]
            {end}
        done
        wait_for [ -s "/box/place/records of {ENDS}" ]
        touch /box/place/enough
        wait $sender
        systemctl stop x.service x.socket
        must is x.service Result success
        {check}
        "#,
        ENDS - 1
    ));
    if !booted {
        return None;
    }
    let sent: u64 = fs::read_to_string(machine.place().join("sent"))
        .unwrap()
        .parse()
        .unwrap();
    Some((
        sent,
        repeats(received_by(&machine.place(), ENDS + 1).concat(), 0..sent),
    ))
}

#[test]
fn thirty_restarts_lose_nothing_and_repeat_nothing() {
    const NAME: &str = "systemd::delivery::thirty_restarts_lose_nothing_and_repeat_nothing";
    if let Some(place) = stage() {
        return play(&place, Delivery::AtMostOnce);
    }
    let check = format!(
        "must [ $(ls /box/place/good* | wc --lines) = {} ]",
        ENDS + 1
    );
    if let Some((_, repeats)) = outlive(NAME, "systemctl restart x.service", &check) {
        assert_eq!(repeats, 0);
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "the figure is of interest")]
fn thirty_kills_lose_nothing_that_waits_for_receipts() {
    const NAME: &str = "systemd::delivery::thirty_kills_lose_nothing_that_waits_for_receipts";
    if let Some(place) = stage() {
        return play(&place, Delivery::AtLeastOnce);
    }
    if let Some((sent, repeats)) = outlive(
        NAME,
        "systemctl kill --kill-whom=main --signal=KILL x.service",
        "",
    ) {
        println!("{sent} messages, {repeats} came again");
    }
}
