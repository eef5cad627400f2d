//! A service that takes more memory than it may, and is killed by the kernel for that.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use uds_ipc::{FlushLevel, Reader, Writer};

use super::machine::Machine;
use crate::stage::{PATIENCE, part, stage, wait_until};

/// How many messages are left in the queue, of a kilobyte each.
const COUNT: usize = 5_000;

fn message(number: usize) -> String {
    format!("{number:01000}")
}

/// A part: sends, and then takes memory until it is killed.
fn send_and_eat(place: &Path) {
    let writer = Writer::builder("/run/x.sock").crash_proof(true);
    let writer = writer.linger(PATIENCE).start().unwrap();
    writer.send_timeout(message(0), PATIENCE).unwrap();
    writer.flush(FlushLevel::Written, PATIENCE).unwrap();
    for number in 1..COUNT {
        writer.try_send(message(number)).unwrap();
    }
    fs::write(place.join("sent"), "").unwrap();
    wait_until("it is to eat", || place.join("eat").exists());
    let mut eaten = Vec::new();
    loop {
        eaten.push(vec![1_u8; 1 << 20]);
    }
}

/// The other part: the reader, in another group, which handles nothing until the writer is dead.
fn read(place: &Path) {
    let bound = Reader::builder("/run/x.sock").bind().unwrap();
    let noted = Arc::new(Mutex::new(Vec::new()));
    let (kept, dead) = (Arc::clone(&noted), place.join("dead"));
    let handler = move |message: &[u8]| {
        wait_until("it is dead", || dead.exists());
        kept.lock()
            .push(String::from_utf8_lossy(message).into_owned());
    };
    let reader = bound.start(handler).unwrap();
    wait_until("all have come", || noted.lock().len() >= COUNT);
    let metrics = reader.shutdown(PATIENCE).unwrap().metrics;
    let expected: Vec<_> = (0..COUNT).map(message).collect();
    assert!(*noted.lock() == expected, "each once, and in order");
    assert!(metrics.recovered.messages > 1_000, "{metrics:?}");
}

#[test]
fn what_a_service_had_to_say_that_takes_too_much_memory_arrives() {
    const NAME: &str =
        "systemd::out_of_memory::what_a_service_had_to_say_that_takes_too_much_memory_arrives";
    if let Some(place) = stage() {
        return if part() == "read" {
            read(&place);
        } else {
            send_and_eat(&place);
        };
    }
    let machine = Machine::new(NAME);
    // Where the kernel counts memory by groups of the first version, as on some build machines,
    // systemd cannot limit it: then the service goes into a group of that kind.
    machine.unit(
        "u.service",
        &format!(
            "[Service]\nType=exec\nMemoryMax=64M\nMemorySwapMax=0\n\
             Environment=UDS_IPC_PLACE=/box/place UDS_IPC_PART=send\n\
             ExecStart=/bin/bash -c '[ -z \"$GROUP\" ] || echo $$$$ >\"$GROUP/cgroup.procs\"; \
             exec /box/bin/roles --exact {NAME} --nocapture --test-threads=1'\n"
        ),
    );
    machine.run(
        r#"
        group=
        if ! grep --quiet --word-regexp memory /sys/fs/cgroup/cgroup.controllers; then
            mkdir /run/memory
            mount -t cgroup -o memory none /run/memory
            group=/run/memory/uds-ipc-box.$$
            mkdir $group
            echo 64M >$group/memory.limit_in_bytes
            echo 0 >$group/memory.swappiness
            systemctl set-environment GROUP=$group
        fi
        role read & reader=$!
        wait_for [ -S /run/x.sock ]
        systemctl start u.service
        wait_for [ -e /box/place/sent ]
        # The queue counts for its group.
        stat=${group:-/sys/fs/cgroup/system.slice/u.service}/memory.stat
        holds_the_queue() { [ "$(sed -n 's/^shmem //p' $stat)" -gt 4000000 ]; }
        wait_for holds_the_queue || counted=no
        touch /box/place/eat
        wait_for is u.service ActiveState failed || ended=no
        if [ -n "$group" ]; then
            killed=$(grep oom_kill $group/memory.oom_control | tail -n 1)
            rmdir $group
            must [ "$killed" != "oom_kill 0" ]
            must is u.service Result signal
        else
            must is u.service Result oom-kill
        fi
        must [ -z "${counted:-}${ended:-}" ]
        touch /box/place/dead
        wait $reader
        "#,
    );
}
