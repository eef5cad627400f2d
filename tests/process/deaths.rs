//! What a writer that dies had accepted, arrives: SIGKILL, aborts, ends without a shutdown.

use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use parking_lot::Mutex;
use uds_ipc::event::ReaderEvent;
use uds_ipc::{FlushLevel, Handler, Peer, Reader, Writer};

use crate::stage::{PATIENCE, Role, stage, wait_until};

/// What came, and whether it was recovered.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<(String, bool)>>>);

impl Handler for Lines {
    type Error = std::convert::Infallible;

    fn message(&self, message: &[u8], peer: &Peer) -> Result<(), Self::Error> {
        let line = String::from_utf8(message.to_vec()).unwrap();
        self.0.lock().push((line, peer.recovered));
        Ok(())
    }
}

/// A program that logs ten lines, and kills itself.
#[test]
fn ten_lines_before_a_sigkill_arrive() {
    const NAME: &str = "deaths::ten_lines_before_a_sigkill_arrive";
    if let Some(place) = stage() {
        let writer = Writer::builder(place.join("s")).crash_proof(true);
        let writer = writer.linger(Duration::from_secs(60)).start().unwrap();
        // From here on the reader has the memory.
        writer.send_timeout("line 0", PATIENCE).unwrap();
        writer.flush(FlushLevel::Written, PATIENCE).unwrap();
        for number in 1..10 {
            writer.try_send(format!("line {number}")).unwrap();
        }
        kill(Pid::this(), Signal::SIGKILL).unwrap();
    }
    let place = tempfile::tempdir().unwrap();
    let lines = Lines::default();
    let events = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&events);
    let reader = Reader::builder(place.path().join("s")).on_event(move |event| {
        told.lock().push(event.clone());
    });
    let reader = reader.bind().unwrap();
    let reader = reader.start_handler(lines.clone()).unwrap();
    let role = Role::start(NAME, place.path());
    let _ = role.end();
    wait_until("all lines have come", || lines.0.lock().len() == 10);
    let expected: Vec<_> = (0..10)
        .map(|number| (format!("line {number}"), number > 0))
        .collect();
    assert_eq!(*lines.0.lock(), expected);
    wait_until("it is told", || {
        let is_it = |event: &ReaderEvent| matches!(event, ReaderEvent::Recovered { messages, is_whole: true, .. } if messages.messages == 9);
        events.lock().iter().any(is_it)
    });
    assert_eq!(reader.metrics().recovered.messages, 9);
    let _ = reader.shutdown(PATIENCE).unwrap();
}
