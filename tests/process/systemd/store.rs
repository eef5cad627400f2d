//! What systemd keeps of queues while a service restarts: a writer that dies without a collector
//! has said all that it had accepted.

use std::fs::{self, File};
use std::io::Write;
use std::ops::Range;
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

fn writer(place: &Path, delivery: &str) -> Writer {
    let delivery = match delivery {
        "once" => Delivery::AtMostOnce,
        _ => Delivery::AtLeastOnce,
    };
    let told = File::options()
        .create(true)
        .append(true)
        .open(place.join("told"));
    let told = told.unwrap();
    let writer = Writer::builder(ADDRESS)
        .crash_proof(true)
        .descriptor_store(true);
    let writer = writer.on_event(move |event| writeln!(&told, "{event}").unwrap());
    writer.delivery(delivery).linger(PATIENCE).start().unwrap()
}

/// Sends one line, and has nine more in its queue. Then it waits to be killed. The process after it
/// sends nothing but what it inherits.
fn leave_nine_lines(place: &Path, delivery: &str) {
    let writer = writer(place, delivery);
    let is_first = !place.join("written").exists();
    if is_first {
        writer.send_timeout("line 0", PATIENCE).unwrap();
        writer.flush(FlushLevel::Written, PATIENCE).unwrap();
    }
    send_lines(&writer, if is_first { 1..10 } else { 0..0 });
    wait_for_death(place);
}

/// Likewise all ten, where no reader is. The process after it has one more.
fn leave_ten_lines(place: &Path, delivery: &str) {
    let writer = writer(place, delivery);
    let is_first = !place.join("written").exists();
    send_lines(&writer, if is_first { 0..10 } else { 10..11 });
    wait_for_death(place);
}

fn send_lines(writer: &Writer, lines: Range<usize>) {
    for number in lines {
        writer.try_send(format!("line {number}")).unwrap();
    }
}

fn wait_for_death(place: &Path) {
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
# Each once, and in order; now, and when nothing more can come.
must_be_noted() {
    wait_for all_noted || { cat /box/place/noted /box/place/events; exit 1; }
    systemctl stop u.service c.service
    must all_noted
}
stored() { systemctl show --property=NFileDescriptorStore --value "$1"; }
has_stored() { [ "$(stored "$1")" = "$2" ]; }
"#;

/// A collector whose start waits as long as there is a file `hold`.
const COLLECTOR: &str = "FileDescriptorStoreMax=9\nRestart=always\nRestartSec=0\n\
     ExecStartPre=/bin/sh -c 'while [ -e /box/place/hold ]; do sleep 0.05; done'";

/// What plays in the units of a test.
fn play(place: &Path, delivery: &str) {
    match part().as_str() {
        "collect" => collect(place),
        "ten" => leave_ten_lines(place, delivery),
        _ => leave_nine_lines(place, delivery),
    }
}

/// A writer that systemd starts again.
const WRITER: &str = "Type=exec\nFileDescriptorStoreMax=1\nRestart=always\nRestartSec=0";

/// What a dead writer left comes once, if `script` holds in the end. The units: a collector, and a
/// writer of one line that the collector has and nine more, or of `ten`.
fn each_line_comes_once(test: &'static str, delivery: &str, writes: &str, script: &str) {
    if let Some(place) = stage() {
        return play(&place, delivery);
    }
    let machine = Machine::new(test);
    machine.role("c.service", "collect", COLLECTOR);
    machine.role("u.service", writes, WRITER);
    machine.run(&format!("{PRELUDE}\n{script}"));
}

/// The collector has the memory, and the writer's service is not there any more.
const BETWEEN_COLLECTORS: &str = r#"
    systemctl start c.service
    role nine & role=$!
    wait_for [ -e /box/place/written ]
    touch /box/place/hold
    systemctl kill --kill-who=main c.service
    wait_for has_stored c.service 1
    wait_for is c.service SubState start-pre
    kill -KILL "$(cat /box/place/written)"
    wait $role || true
    rm /box/place/hold
    wait_for has_line /box/place/events 'its process died, and left 9 messages'
    must has_stored c.service 0
    must_be_noted
"#;

#[test]
fn what_a_writer_leaves_between_two_collectors_is_recovered_by_the_second() {
    const NAME: &str =
        "systemd::store::what_a_writer_leaves_between_two_collectors_is_recovered_by_the_second";
    each_line_comes_once(NAME, "once", "nine", BETWEEN_COLLECTORS);
}

#[test]
fn what_a_writer_with_receipts_leaves_between_two_collectors_is_recovered_by_the_second() {
    const NAME: &str = "systemd::store::what_a_writer_with_receipts_leaves_between_two_collectors_is_recovered_by_the_second";
    each_line_comes_once(NAME, "least", "nine", BETWEEN_COLLECTORS);
}

/// No collector has ever been there. The next process sends what was left, and then its own.
const WITHOUT_COLLECTOR: &str = r#"
    echo "line 10" >>/box/place/expected
    systemctl start u.service
    wait_for [ -e /box/place/written ]
    must has_stored u.service 1
    first=$(cat /box/place/written)
    kill -KILL "$first"
    is_next() { [ "$(cat /box/place/written)" != "$first" ]; }
    wait_for is_next
    must has_line /box/place/told 'the process before this one died, and left 10 messages'
    must has_stored u.service 1
    systemctl start c.service
    must_be_noted
"#;

#[test]
fn what_a_writer_leaves_without_a_collector_is_sent_by_its_successor() {
    const NAME: &str =
        "systemd::store::what_a_writer_leaves_without_a_collector_is_sent_by_its_successor";
    each_line_comes_once(NAME, "once", "ten", WITHOUT_COLLECTOR);
}

#[test]
fn what_a_writer_with_receipts_leaves_without_a_collector_is_sent_by_its_successor() {
    const NAME: &str = "systemd::store::what_a_writer_with_receipts_leaves_without_a_collector_is_sent_by_its_successor";
    each_line_comes_once(NAME, "least", "ten", WITHOUT_COLLECTOR);
}

/// The collector was there, and has gone without a word; with it all that it knew. The writer comes
/// to know of it when it is gone as a whole: what is dying may still listen where it has closed the
/// connection, and is sent the rest.
const COLLECTOR_DIED: &str = r#"
    systemctl start c.service u.service
    wait_for [ -e /box/place/written ]
    wait_for has_line /box/place/noted 'line 0'
    touch /box/place/hold
    first=$(cat /box/place/written)
    kill -STOP "$first"
    systemctl kill --signal=KILL --kill-who=main c.service
    wait_for is c.service SubState start-pre
    kill -CONT "$first"
    wait_for has_line /box/place/told 'lost'
    must has_stored c.service 0
    kill -KILL "$first"
    wait_for has_line /box/place/told 'the process before this one died, and left 9 messages'
    rm /box/place/hold
    must_be_noted
"#;

#[test]
fn what_a_writer_leaves_whose_collector_died_is_sent_by_its_successor() {
    const NAME: &str =
        "systemd::store::what_a_writer_leaves_whose_collector_died_is_sent_by_its_successor";
    each_line_comes_once(NAME, "once", "nine", COLLECTOR_DIED);
}

#[test]
fn what_a_writer_with_receipts_leaves_whose_collector_died_is_sent_by_its_successor() {
    const NAME: &str = "systemd::store::what_a_writer_with_receipts_leaves_whose_collector_died_is_sent_by_its_successor";
    each_line_comes_once(NAME, "least", "nine", COLLECTOR_DIED);
}

/// The collector is there, and has the memory: the next process keeps off.
const WITH_COLLECTOR: &str = r#"
    systemctl start c.service u.service
    wait_for [ -e /box/place/written ]
    kill -KILL "$(cat /box/place/written)"
    wait_for has_line /box/place/events 'its process died, and left 9 messages'
    # What the next process had to send would come with its connection.
    twice() { [ "$(grep --count "^connected" /box/place/told)" = 2 ]; }
    wait_for twice
    must has_stored u.service 1
    must_be_noted
    must [ "$(grep --count "the process before" /box/place/told)" = 0 ]
"#;

#[test]
fn what_a_collector_has_of_a_writer_is_not_sent_by_its_successor() {
    const NAME: &str =
        "systemd::store::what_a_collector_has_of_a_writer_is_not_sent_by_its_successor";
    each_line_comes_once(NAME, "once", "nine", WITH_COLLECTOR);
}

#[test]
fn what_a_collector_has_of_a_writer_with_receipts_is_not_sent_by_its_successor() {
    const NAME: &str = "systemd::store::what_a_collector_has_of_a_writer_with_receipts_is_not_sent_by_its_successor";
    each_line_comes_once(NAME, "least", "nine", WITH_COLLECTOR);
}
