//! What systemd is told, and what it does then: readiness, reloads, hangs, stops.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGTERM};
use signal_hook::iterator::Signals;
use uds_ipc::Reader;
use uds_ipc::systemd::{Activation, Service};

use super::machine::Machine;
use crate::stage::{PATIENCE, SHORT, part, stage, wait_until};

/// Sends messages, each after a space.
fn say(path: &str, messages: &str) {
    let mut stream = UnixStream::connect(path).unwrap();
    for message in messages.split(' ') {
        stream
            .write_all(&[&[u8::try_from(message.len()).unwrap()], message.as_bytes()].concat())
            .unwrap();
    }
}

/// Appends each message to a file of the name.
fn note(place: &Path, name: &str) -> impl Fn(&[u8]) -> std::io::Result<()> + Send + Sync + 'static {
    let file = fs::File::options()
        .create(true)
        .append(true)
        .open(place.join(name))
        .unwrap();
    move |message| (&file).write_all(&[message, b"\n"].concat())
}

fn wait_for_stop(signals: &mut Signals, service: &Service) {
    signals.forever().next();
    service.shutdown(PATIENCE).unwrap();
}

fn exists(place: &Path, name: &str) {
    wait_until(name, || place.join(name).exists());
}

#[test]
fn a_service_is_active_once_it_is_ready_and_reloads() {
    const NAME: &str = "systemd::life_cycle::a_service_is_active_once_it_is_ready_and_reloads";
    if let Some(place) = stage() {
        let mut signals = Signals::new([SIGTERM, SIGHUP]).unwrap();
        exists(&place, "go");
        let reader = Reader::builder("/run/x.sock")
            .bind()
            .unwrap()
            .start(note(&place, "noted"))
            .unwrap();
        let service = Service::start([reader]);
        while signals.forever().next() == Some(SIGHUP) {
            service.reload(|| exists(&place, "reloaded"));
        }
        service.shutdown(PATIENCE).unwrap();
        return;
    }
    let machine = Machine::new(NAME);
    machine.role("x.service", "serve", "ExecReload=kill -HUP $MAINPID");
    machine.run(
        r#"
        systemctl start --no-block x.service
        wait_for [ -e /box/place/entered ]
        must is x.service ActiveState activating
        must [ ! -e /run/x.sock ]
        touch /box/place/go
        wait_for is x.service ActiveState active
        must [ -S /run/x.sock ]
        must is x.service StatusText "/run/x.sock: 0 messages (0 bytes) received, 0 connections open"
        systemctl reload --no-block x.service
        wait_for is x.service ActiveState reloading
        touch /box/place/reloaded
        wait_for is x.service ActiveState active
        systemctl stop x.service
        must is x.service Result success
        "#,
    );
}

#[test]
fn two_readers_of_a_service_have_a_socket_each() {
    const NAME: &str = "systemd::life_cycle::two_readers_of_a_service_have_a_socket_each";
    if let Some(place) = stage() {
        match part().split_once('=') {
            Some((path, messages)) => return say(path, messages),
            None => assert_eq!(part(), "serve"),
        }
        let mut signals = Signals::new([SIGTERM]).unwrap();
        // Not in the order of the units.
        let readers = ["metrics", "logs"].map(|name| {
            let bound = Reader::builder("/run/own.sock")
                .activation(Activation::Named(name.into()))
                .bind();
            bound.unwrap().start(note(&place, name)).unwrap()
        });
        let service = Service::start(readers);
        return wait_for_stop(&mut signals, &service);
    }
    let machine = Machine::new(NAME);
    machine.role("x.service", "serve", "Sockets=xlogs.socket xmetrics.socket");
    for name in ["logs", "metrics"] {
        machine.unit(
            &format!("x{name}.socket"),
            &format!(
                "[Socket]\nListenStream=/run/{name}.sock\nFileDescriptorName={name}\nService=x.service\n"
            ),
        );
    }
    machine.run(
        r#"
        systemctl start xlogs.socket xmetrics.socket
        role "/run/logs.sock=a line"
        role "/run/metrics.sock=a figure"
        wait_for has_line /box/place/logs line
        wait_for has_line /box/place/metrics figure
        must [ "$(cat /box/place/logs /box/place/metrics)" = "$(printf 'a\nline\na\nfigure')" ]
        must [ ! -e /run/own.sock ]
        status=$(systemctl show --property=StatusText --value x.service)
        case $status in
            "/run/metrics.sock: "*"; /run/logs.sock: "*) ;;
            *) echo "$status"; exit 1 ;;
        esac
        systemctl stop x.service
        must is x.service Result success
        "#,
    );
}

#[test]
fn a_collector_that_hangs_is_restarted_by_the_watchdog_and_a_slow_one_is_not() {
    const NAME: &str = "systemd::life_cycle::a_collector_that_hangs_is_restarted_by_the_watchdog_and_a_slow_one_is_not";
    if let Some(place) = stage() {
        match part().split_once('=') {
            Some((path, messages)) => return say(path, messages),
            None => assert_eq!(part(), "serve"),
        }
        let mut signals = Signals::new([SIGTERM]).unwrap();
        let bound = Reader::builder("/run/x.sock")
            .max_threads(2)
            .bind()
            .unwrap();
        let note = note(&place, "noted");
        let reader = bound.start(move |message| {
            match message {
                b"hang" => loop {
                    thread::park();
                },
                b"slow" => thread::park_timeout(Duration::from_millis(400)),
                _ => {}
            }
            note(message)
        });
        let service = Service::start([reader.unwrap()]);
        return wait_for_stop(&mut signals, &service);
    }
    let machine = Machine::new(NAME);
    machine.unit("x.socket", "[Socket]\nListenStream=/run/x.sock\n");
    // A core is written when the watchdog aborts, unless that is forbidden.
    machine.role(
        "x.service",
        "serve",
        "WatchdogSec=2s\nRestart=on-failure\nRestartSec=0\nLimitCORE=0",
    );
    machine.run(
        r#"
        systemctl start x.socket
        slow=$(printf 'slow %.0s' $(seq 10))
        # Both threads are busy for twice as long as the watchdog waits, and finish a message now and then.
        role "/run/x.sock=${slow}end" & role "/run/x.sock=${slow}end" & wait
        twice() { [ "$(grep --count end /box/place/noted)" = 2 ]; }
        wait_for twice
        must is x.service NRestarts 0
        role "/run/x.sock=hang"
        # One of two threads hangs: the other serves.
        role "/run/x.sock=more"
        wait_for has_line /box/place/noted more
        role "/run/x.sock=hang"
        wait_for is x.service NRestarts 1
        role "/run/x.sock=again"
        wait_for has_line /box/place/noted again
        must is x.service ActiveState active
        systemctl stop x.service
        "#,
    );
}

#[test]
fn a_service_that_may_not_accept_says_so_and_rests() {
    const NAME: &str = "systemd::life_cycle::a_service_that_may_not_accept_says_so_and_rests";
    if let Some(place) = stage() {
        if let Some((path, _)) = part().split_once('=') {
            return drop(UnixStream::connect(path).unwrap());
        }
        let mut signals = Signals::new([SIGTERM]).unwrap();
        let note_event = note(&place, "events");
        let builder = Reader::builder("/run/x.sock").on_event(move |event| {
            note_event(event.to_string().as_bytes()).unwrap();
        });
        let reader = builder.bind().unwrap().start(|_| ());
        let service = Service::start([reader.unwrap()]);
        signals.forever().next();
        // Nor can it be served who waits.
        service.shutdown(SHORT).unwrap();
        return;
    }
    let machine = Machine::new(NAME);
    machine.role(
        "x.service",
        "serve",
        "SystemCallFilter=~accept accept4\nSystemCallErrorNumber=EPERM\nCPUAccounting=yes",
    );
    machine.run(
        r#"
        systemctl start x.service
        role "/run/x.sock=" & peer=$!
        wait_for has_line /box/place/events 'accepting at /run/x.sock pauses: Operation not permitted'
        at_work() { systemctl show --property=CPUUsageNSec --value x.service; }
        before=$(at_work)
        sleep 2
        must [ $(($(at_work) - before)) -lt 500000000 ]
        # It is told once.
        must [ "$(wc --lines </box/place/events)" = 1 ]
        wait $peer
        systemctl stop x.service
        must is x.service Result success
        "#,
    );
}

#[test]
fn a_stop_that_drains_for_long_is_waited_for_and_one_that_hangs_is_not() {
    const NAME: &str =
        "systemd::life_cycle::a_stop_that_drains_for_long_is_waited_for_and_one_that_hangs_is_not";
    if let Some(place) = stage() {
        match part().split_once('=') {
            Some((path, messages)) => return say(path, messages),
            None => assert_eq!(part(), "serve"),
        }
        let mut signals = Signals::new([SIGTERM]).unwrap();
        let (note, handled) = (note(&place, "noted"), Arc::new(AtomicU64::new(0)));
        let reader = Reader::builder("/run/x.sock")
            .bind()
            .unwrap()
            .start(move |message| {
                if message == b"hang" {
                    loop {
                        thread::park();
                    }
                }
                // The first comes at once.
                if handled.fetch_add(1, Ordering::Relaxed) > 0 {
                    thread::park_timeout(Duration::from_millis(500));
                }
                note(message)
            });
        let service = Service::start([reader.unwrap()]);
        return wait_for_stop(&mut signals, &service);
    }
    let machine = Machine::new(NAME);
    // Each extension is for six seconds; without any it is over after two.
    machine.role("x.service", "serve", "TimeoutStopSec=2s\nLimitCORE=0");
    machine.run(
        r#"
        systemctl start x.service
        role "/run/x.sock=$(seq --separator=' ' 20)"
        wait_for has_line /box/place/noted 1
        systemctl stop x.service
        must is x.service Result success
        must [ "$(tail --lines=1 /box/place/noted)" = 20 ]
        systemctl start x.service
        role "/run/x.sock=first hang"
        wait_for has_line /box/place/noted first
        systemctl stop x.service
        must is x.service Result timeout
        "#,
    );
}
