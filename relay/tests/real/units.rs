//! The units and the file of settings, as they are installed.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::nats::Nats;
use crate::support::producer::Producer;
use crate::support::relay::{PROGRAM, Relay};

fn units() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/systemd"))
}

fn analyze(arguments: &[&str]) {
    let output = Command::new("systemd-analyze")
        .args(arguments)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.trim().is_empty(),
        "{arguments:?}: {said}"
    );
}

#[test]
fn the_units_are_valid_and_well_confined() {
    let folder = tempfile::tempdir().unwrap();
    let copy = |name: &str| {
        let text = fs::read_to_string(units().join(name)).unwrap();
        let path = folder.path().join(name);
        fs::write(&path, text.replace("/usr/local/bin/uds-ipc-relay", PROGRAM)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (socket, service) = (copy("uds-ipc-relay.socket"), copy("uds-ipc-relay.service"));
    analyze(&["verify", "--man=no", &socket, &service]);
    // Of 100, where 100 is unconfined.
    analyze(&[
        "security",
        "--offline=true",
        "--threshold=20",
        "--no-pager",
        &service,
    ]);
}

#[test]
fn the_file_of_settings_is_one() {
    let nats = Nats::start();
    nats.make_stream();
    let file = units().join("uds-ipc-relay.toml");
    let relay = Relay::start(&[
        "--settings",
        file.to_str().unwrap(),
        "--nats-url",
        &nats.url(),
    ]);
    Producer::start(&relay.socket(), &["web"], 10).end();
    assert!(relay.log().starts_with("{\"timestamp\""), "{}", relay.log());
}

/// In a systemd of its own, that the crate's tests boot: started by the first message, killed, and
/// started again.
#[test]
fn the_units_carry_lines_into_a_stream() {
    /// How `boot` says that it cannot.
    const CANNOT: i32 = 77;
    let folder = tempfile::TempDir::with_prefix("uds").unwrap();
    let units_there = folder.path().join("units");
    fs::create_dir(&units_there).unwrap();
    for name in ["uds-ipc-relay.socket", "uds-ipc-relay.service"] {
        fs::copy(units().join(name), units_there.join(name)).unwrap();
    }
    let nats = "[Service]\nExecStart=nats-server -a 127.0.0.1 -js -sd /run/nats\n";
    fs::write(units_there.join("nats.service"), nats).unwrap();
    fs::copy(PROGRAM, folder.path().join("uds-ipc-relay")).unwrap();
    let settings = fs::read_to_string(units().join("uds-ipc-relay.toml")).unwrap();
    let settings = format!("{settings}\ncreate-stream = true\n");
    fs::write(folder.path().join("settings"), settings).unwrap();
    let script = r#"
        at_end() { status=$?; [ $status = 0 ] || journalctl --no-pager --lines=60; }
        trap at_end EXIT
        set -euo pipefail
        groupadd --system telemetry
        install /box/uds-ipc-relay /usr/local/bin/
        install -m 644 /box/settings /etc/uds-ipc-relay.toml
        systemctl start nats.service uds-ipc-relay.socket
        echo 'the first line' | uds-ipc-relay send /run/uds-ipc-relay/messages.sock --name web
        uds-ipc-relay check --wait 30s
        systemctl kill --signal=KILL uds-ipc-relay.service
        echo 'the second line' | uds-ipc-relay send /run/uds-ipc-relay/messages.sock --name web
        [ "$(uds-ipc-relay read | cut -d ' ' -f 1,3-)" = "web the first line
web the second line" ]
        [ "$(stat --format='%a %U %G' /run/uds-ipc-relay/messages.sock)" = "660 root telemetry" ]
        is_told() { systemctl show --property=StatusText uds-ipc-relay.service | grep 'collector up, stream reachable'; }
        until is_told; do sleep 0.1; done
        systemctl stop uds-ipc-relay.service
        [ "$(systemctl show --property=Result --value uds-ipc-relay.service)" = success ]
        echo the end is reached
    "#;
    fs::write(folder.path().join("script"), script).unwrap();
    let boot = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/process/systemd/boot");
    let output = Command::new(boot).arg(folder.path()).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    if output.status.code() == Some(CANNOT)
        && std::env::var("UDS_IPC_SYSTEMD").as_deref() != Ok("must")
    {
        println!("skipped: {said}");
        return;
    }
    assert!(
        output.status.success() && said.contains("the end is reached"),
        "{said}"
    );
}
