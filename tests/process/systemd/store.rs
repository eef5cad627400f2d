//! What systemd keeps of queues while a service restarts: a writer that dies without a collector
//! has said all that it had accepted.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process;
use std::thread;

use signal_hook::consts::SIGTERM;
use signal_hook::iterator::Signals;
use uds_ipc::systemd::Service;
use uds_ipc::{Delivery, FlushLevel, Reader, Writer};

use super::machine::Machine;
use crate::stage::{PATIENCE, part, stage};

const ADDRESS: &str = "/run/c.sock";

/// A collector that notes each line, and what it tells.
fn collect(place: &Path) {
    let mut signals = Signals::new([SIGTERM]).unwrap();
    let note = |name: &str| {
        let mut options = File::options();
        options.create(true).append(true);
        options.open(place.join(name)).unwrap()
    };
    let (lines, events) = (note("noted"), note("events"));
    let builder = Reader::builder(ADDRESS).descriptor_store(true);
    let builder = builder.on_event(move |event| writeln!(&events, "{event}").unwrap());
    let reader = builder.bind().unwrap();
    let reader = reader.start(move |line| (&lines).write_all(&[line, b"\n"].concat()));
    let service = Service::start([reader.unwrap()]);
    signals.forever().next();
    service.shutdown(PATIENCE).unwrap();
}

fn writer(delivery: &str) -> Writer {
    let delivery = match delivery {
        "once" => Delivery::AtMostOnce,
        _ => Delivery::AtLeastOnce,
    };
    let writer = Writer::builder(ADDRESS).crash_proof(true);
    writer.delivery(delivery).linger(PATIENCE).start().unwrap()
}

/// Sends one line, and has nine more in its queue. Then it waits to be killed.
fn leave_nine_lines(place: &Path, delivery: &str) {
    let writer = writer(delivery);
    writer.send_timeout("line 0", PATIENCE).unwrap();
    writer.flush(FlushLevel::Written, PATIENCE).unwrap();
    for number in 1..10 {
        writer.try_send(format!("line {number}")).unwrap();
    }
    tell(place, "written");
    loop {
        thread::park();
    }
}

/// A file of that name, with the number of this process in it.
fn tell(place: &Path, name: &str) {
    let to_be = place.join("to be");
    fs::write(&to_be, process::id().to_string()).unwrap();
    fs::rename(to_be, place.join(name)).unwrap();
}

/// What each script may use.
const PRELUDE: &str = r#"
seq 0 9 | sed "s/^/line /" >/box/place/expected
all_noted() { cmp --quiet /box/place/expected /box/place/noted; }
# Each once, and in order; now, and when all is quiet.
must_be_noted() {
    wait_for all_noted || { cat /box/place/noted /box/place/events; exit 1; }
    sleep 0.5
    must all_noted
}
stored() { systemctl show --property=NFileDescriptorStore --value "$1"; }
has_stored() { [ "$(stored "$1")" = "$2" ]; }
"#;

/// A collector whose start waits as long as there is a file `hold`.
const COLLECTOR: &str = "FileDescriptorStoreMax=9\nRestart=always\nRestartSec=0\n\
     ExecStartPre=/bin/sh -c 'while [ -e /box/place/hold ]; do sleep 0.05; done'";

fn writer_dies_between_two_collectors(test: &'static str, delivery: &str) {
    if let Some(place) = stage() {
        match part().as_str() {
            "collect" => collect(&place),
            _ => leave_nine_lines(&place, delivery),
        }
        return;
    }
    let machine = Machine::new(test);
    machine.role("c.service", "collect", COLLECTOR);
    machine.run(&format!(
        r#"{PRELUDE}
        systemctl start c.service
        role write & role=$!
        wait_for [ -e /box/place/written ]
        touch /box/place/hold
        systemctl kill --kill-who=main c.service
        wait_for has_stored c.service 1
        wait_for is c.service SubState start-pre
        kill -KILL "$(cat /box/place/written)"
        wait $role || true
        rm /box/place/hold
        must_be_noted
        must has_line /box/place/events 'its process died, and left 9 messages'
        must has_stored c.service 0
        "#
    ));
}

#[test]
fn what_a_writer_leaves_between_two_collectors_is_recovered_by_the_second() {
    const NAME: &str =
        "systemd::store::what_a_writer_leaves_between_two_collectors_is_recovered_by_the_second";
    writer_dies_between_two_collectors(NAME, "once");
}

#[test]
fn likewise_with_receipts() {
    writer_dies_between_two_collectors("systemd::store::likewise_with_receipts", "least");
}
