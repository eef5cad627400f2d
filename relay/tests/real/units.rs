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
