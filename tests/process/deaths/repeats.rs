//! At least once, over connections that end: what a crash-proof writer sends again does not reach
//! the handler again, as long as the reader lives and is done with the connection before.

use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use uds_ipc::metrics::ReaderMetrics;
use uds_ipc::{Delivery, FlushLevel, Handler, Peer, Reader, Writer};

use super::Told;
use crate::delivery::eager;
use crate::load::{message, number_of, u64_at};
use crate::stage::{PATIENCE, Role, part, stage, wait_for_cue, wait_until};

/// What a handler does now and then that ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// It fails on a message, once.
    Fails,
    /// It is held up for longer than its writer waits.
    Hangs,
}

#[derive(Debug)]
struct Failed;

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the disk is full, this once")
    }
}

impl std::error::Error for Failed {}

/// Notes what it has handled.
struct Faulty {
    fault: Fault,
    /// Each so many messages.
    every: u64,
    noted: Mutex<Noted>,
}

#[derive(Clone, Debug, Default)]
struct Noted {
    handled: Vec<u64>,
    faults: u64,
    last_fault: Option<u64>,
}

/// How long a writer waits for a reader that takes nothing.
const WRITE_TIMEOUT: Duration = Duration::from_millis(30);

impl Handler for Faulty {
    type Error = Failed;

    fn message(&self, message: &[u8], peer: &Peer) -> Result<(), Failed> {
        let number = number_of(message).expect("a whole message");
        let is_due = {
            let mut noted = self.noted.lock();
            // What it fails on there is lost: nobody can send that again.
            let is_due = !peer.recovered
                && number % self.every == self.every / 2
                && noted.last_fault != Some(number);
            if is_due {
                noted.faults += 1;
                noted.last_fault = Some(number);
            }
            is_due
        };
        match self.fault {
            Fault::Fails if is_due => return Err(Failed),
            Fault::Hangs if is_due => thread::park_timeout(3 * WRITE_TIMEOUT),
            Fault::Fails | Fault::Hangs => (),
        }
        self.noted.lock().handled.push(number);
        Ok(())
    }
}

/// The role: sends to its end, which is a kill, or after so many messages.
fn send_all(place: &Path, enough: u64) {
    let published = File::create(place.join("accepted")).unwrap();
    let writer = eager(&place.join("s"))
        .crash_proof(true)
        .delivery(Delivery::AtLeastOnce)
        .write_timeout(WRITE_TIMEOUT)
        .start();
    let writer: Writer = writer.unwrap();
    thread::spawn(move || {
        wait_for_cue();
        super::kill_this_process();
    });
    for number in 0..enough {
        writer.send_timeout(&message(number), PATIENCE).unwrap();
        published
            .write_all_at(&(number + 1).to_le_bytes(), 0)
            .unwrap();
    }
    writer.flush(FlushLevel::Handled, PATIENCE).unwrap();
    assert_eq!(writer.shutdown(PATIENCE).unwrap().left.messages, 0);
}

/// What the handler has handled by the writer's end, of how many that it knew of as accepted.
fn handle(
    name: &str,
    fault: Fault,
    every: u64,
    enough: u64,
    is_killed: bool,
) -> (Noted, u64, ReaderMetrics) {
    let place = tempfile::tempdir().unwrap();
    let told = Told::default();
    let handler = Arc::new(Faulty {
        fault,
        every,
        noted: Mutex::default(),
    });
    let reader = told.bind(Reader::builder(place.path().join("s")));
    let reader = reader.start_handler(Arc::clone(&handler)).unwrap();
    let count = if is_killed { u64::MAX } else { enough };
    let mut role = Role::start_part(name, place.path(), &count.to_string());
    let noted = || handler.noted.lock().clone();
    if is_killed {
        wait_until("enough has come", || {
            u64::try_from(noted().handled.len()).unwrap() >= enough
        });
        role.kill();
    } else {
        wait_until("it has ended", || role.has_ended());
        assert!(role.end().success());
    }
    let accepted = std::fs::read(place.path().join("accepted")).unwrap();
    let accepted = u64_at(&accepted, 0);
    wait_until("all has come", || {
        let last = noted().handled.into_iter().max();
        last.is_some_and(|last| last + 1 >= accepted)
    });
    let metrics = reader.shutdown(PATIENCE).unwrap().metrics;
    (noted(), accepted, metrics)
}

/// Nothing is lost, whether or not the writer is killed in the end. Gives how many messages were
/// handled twice, and whether all were in order.
#[expect(clippy::print_stdout, reason = "the figures are of interest")]
fn look(name: &str, fault: Fault, every: u64, enough: u64) -> Vec<(usize, bool)> {
    let look = |is_killed| {
        let (noted, accepted, metrics) = handle(name, fault, every, enough, is_killed);
        let mut handled = noted.handled.clone();
        handled.sort_unstable();
        handled.dedup();
        let (twice, count) = (
            noted.handled.len() - handled.len(),
            u64::try_from(handled.len()).unwrap(),
        );
        println!(
            "{fault:?}, killed: {is_killed}: {count} of {accepted} handled, {twice} twice, {} faults, {} repeated, {} recovered",
            noted.faults, metrics.repeated, metrics.recovered.messages
        );
        assert!(handled.into_iter().eq(0..count), "none is lost");
        assert!((accepted..=accepted + 1).contains(&count));
        assert!(noted.faults > 0 && metrics.connections > 1);
        (twice, noted.handled.is_sorted())
    };
    [false, true].map(look).to_vec()
}

#[test]
fn what_a_failing_handler_gets_again_is_what_it_failed_on_and_nothing_that_it_had() {
    const NAME: &str = "deaths::repeats::what_a_failing_handler_gets_again_is_what_it_failed_on_and_nothing_that_it_had";
    if let Some(place) = stage() {
        return send_all(&place, part().parse().unwrap());
    }
    assert_eq!(look(NAME, Fault::Fails, 1_000, 10_000), [(0, true); 2]);
}

/// While a reader is held up, it may handle the rest of the old connection beside the new one: some
/// come twice then. None is lost, also when the writer is killed.
#[test]
fn a_crash_proof_writer_whose_patience_was_over_loses_nothing() {
    const NAME: &str =
        "deaths::repeats::a_crash_proof_writer_whose_patience_was_over_loses_nothing";
    if let Some(place) = stage() {
        return send_all(&place, part().parse().unwrap());
    }
    look(NAME, Fault::Hangs, 4_000, 20_000);
}
