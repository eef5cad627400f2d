//! What a service manager may pass as stored, and is none of it. The test is the manager.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use uds_ipc::{Reader, Writer};

use crate::stage::{PATIENCE, Role, stage, wait_for_cue, wait_until};

/// What the names of an end of an address begin with: for ever the same.
fn prefix(end: &str, address: &Path) -> String {
    let bytes = address.as_os_str().as_encoded_bytes();
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("uds-ipc-{end}-{hash:016x}-")
}

/// A reader and a writer start with nonsense in the store, have it removed, and do what they
/// should.
#[test]
fn nonsense_in_the_store_is_removed_and_changes_nothing() {
    const NAME: &str = "stored::nonsense_in_the_store_is_removed_and_changes_nothing";
    if let Some(place) = stage() {
        let own = place.join("handled");
        let reader = Reader::builder(place.join("s")).descriptor_store(true);
        let reader = reader.bind().unwrap();
        assert!(reader.listens());
        let _reader = reader.start(move |message| fs::write(&own, message));
        let writer = Writer::builder(place.join("s")).crash_proof(true);
        let writer = writer.descriptor_store(true).start().unwrap();
        writer.send_timeout("as it should", PATIENCE).unwrap();
        return wait_for_cue();
    }
    let place = tempfile::Builder::new().prefix("uds").tempdir().unwrap();
    let manager = UnixDatagram::bind(place.path().join("notify")).unwrap();
    let patience = Duration::from_millis(10);
    manager.set_read_timeout(Some(patience)).unwrap();
    let address = place.path().join("s");
    let (reader, writer) = (prefix("reader", &address), prefix("writer", &address));
    let names = [
        format!("{reader}0-0-1-1-0-1-0-1"),
        format!("{reader}0-0-1-1-0-1-0"),
        format!("{reader}nonsense"),
        reader.clone(),
        format!("{writer}1"),
        format!("{writer}nonsense"),
    ];
    // A socket is none, whatever its unit is called: the reader takes it.
    let setup = format!(
        "exec 3</dev/null 4</proc/self/maps 5</ 6</dev/zero 7</dev/null 8</ 9>&1; \
         export LISTEN_PID=$$ LISTEN_FDS=7 LISTEN_FDNAMES={}:uds-ipc-reader-1.socket NOTIFY_SOCKET='{}'",
        names.join(":"),
        place.path().join("notify").display()
    );
    let mut command = Role::command(NAME, place.path(), "", &setup);
    let listener = UnixListener::bind(&address).unwrap();
    command.stdout(Stdio::from(OwnedFd::from(listener)));
    let role = Role::spawn(command, place.path());
    let mut removed = Vec::new();
    wait_until("all are removed", || {
        let mut buffer = [0; 1000];
        while let Ok(len) = manager.recv(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..len]).into_owned();
            let name = text.strip_prefix("FDSTOREREMOVE=1\nFDNAME=");
            removed.extend(name.map(str::to_owned));
        }
        removed.len() >= names.len()
    });
    assert_eq!(removed, names);
    wait_until("it does what it should", || {
        fs::read(place.path().join("handled")).is_ok_and(|text| text == b"as it should")
    });
    role.succeed();
}
