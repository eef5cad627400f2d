//! What a callback may do, and with what: the columns of the tables about calling back.

use std::io::Write;
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use uds_ipc::{EncodeError, FlushLevel, Reader, Writer};

use super::{Gate, Notes, PATIENCE, SHORT};

/// With which object: the one whose callback it is, or another. A reader's own writer is one that
/// writes to this very reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum On {
    Same,
    Other,
}

/// What a callback does, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Panic,
    /// Panics with something that panics when it is dropped, with something that does so too.
    PanicOnAndOn,
    Block,
    ShutDownReader(On),
    DropReader(On),
    TrySend(On),
    SendTimeout(On),
    SendWith(On),
    Flush(On),
    ShutDownWriter(On),
    DropWriter(On),
}

pub(crate) const PANICS: &[Act] = &[Act::Panic, Act::PanicOnAndOn];

pub(crate) const SENDS: &[Act] = &[
    Act::TrySend(On::Same),
    Act::TrySend(On::Other),
    Act::SendTimeout(On::Same),
    Act::SendTimeout(On::Other),
    Act::SendWith(On::Same),
    Act::SendWith(On::Other),
    Act::Flush(On::Same),
    Act::Flush(On::Other),
];

pub(crate) const STOPS: &[Act] = &[
    Act::ShutDownReader(On::Same),
    Act::ShutDownReader(On::Other),
    Act::ShutDownWriter(On::Same),
    Act::ShutDownWriter(On::Other),
];

pub(crate) const DROPS: &[Act] = &[
    Act::DropReader(On::Same),
    Act::DropReader(On::Other),
    Act::DropWriter(On::Same),
    Act::DropWriter(On::Other),
];

/// The message that is sent from inside.
pub(crate) const INSIDE: &[u8] = b"inside";

/// Panics each time it is dropped, so many times, and says nothing on the screen.
pub(crate) struct Bomb(pub(crate) u32);

impl Drop for Bomb {
    fn drop(&mut self) {
        if let Some(next) = self.0.checked_sub(1) {
            panic::resume_unwind(Box::new(Self(next)));
        }
    }
}

/// Panics, and says nothing on the screen.
pub(crate) fn panic_quietly() -> ! {
    panic::resume_unwind(Box::new("on purpose"))
}

/// Names the cell of a table that is being tried.
#[expect(clippy::print_stdout, reason = "it is shown only where a test fails")]
pub(crate) fn show(line: &str) {
    println!("{line}");
}

/// The only lasting reference to an object: who takes it and drops it drops the last.
pub(crate) struct Holder<T>(Mutex<Option<Arc<T>>>);

impl<T> Holder<T> {
    fn new() -> Self {
        Self(Mutex::new(None))
    }

    pub(crate) fn put(&self, object: T) {
        *self.0.lock() = Some(Arc::new(object));
    }

    /// For a while.
    pub(crate) fn get(&self) -> Option<Arc<T>> {
        self.0.lock().clone()
    }

    pub(crate) fn take(&self) -> Option<Arc<T>> {
        self.0.lock().take()
    }
}

/// The objects that callbacks act on, and what came of it.
pub(crate) struct Cast {
    readers: [Holder<Reader>; 2],
    writers: [Holder<Writer>; 2],
    /// Open once all are there.
    pub(crate) complete: Gate,
    /// Holds up what blocks.
    pub(crate) gate: Gate,
    has_acted: AtomicBool,
    /// How it ended, as debug text; for what blocks or panics, that it began.
    pub(crate) outcomes: Notes<String>,
}

impl Cast {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            readers: [Holder::new(), Holder::new()],
            writers: [Holder::new(), Holder::new()],
            complete: Gate::new(),
            gate: Gate::new(),
            has_acted: AtomicBool::new(false),
            outcomes: Notes::new(),
        })
    }

    pub(crate) fn reader(&self, on: On) -> &Holder<Reader> {
        let [same, other] = &self.readers;
        if on == On::Same { same } else { other }
    }

    pub(crate) fn writer(&self, on: On) -> &Holder<Writer> {
        let [same, other] = &self.writers;
        if on == On::Same { same } else { other }
    }

    /// Does `act` when it is called for the first time.
    pub(crate) fn act(&self, act: Act) {
        if self.has_acted.swap(true, Ordering::SeqCst) {
            return;
        }
        self.complete.pass();
        if matches!(act, Act::Panic | Act::PanicOnAndOn | Act::Block) {
            self.outcomes.add(format!("{act:?}"));
        }
        let outcome = match act {
            Act::Panic => panic_quietly(),
            Act::PanicOnAndOn => panic::resume_unwind(Box::new(Bomb(2))),
            Act::Block => return self.gate.pass(),
            Act::ShutDownReader(on) => self.reader(on).get().map(|reader| {
                let report = reader.shutdown(PATIENCE);
                format!("{:?}", report.map(|report| report.cut))
            }),
            Act::DropReader(on) => self.reader(on).take().map(let_go),
            Act::TrySend(on) => {
                self.with_writer(on, |writer| format!("{:?}", writer.try_send(INSIDE)))
            }
            Act::SendTimeout(on) => self.with_writer(on, |writer| {
                format!("{:?}", writer.send_timeout(INSIDE, PATIENCE))
            }),
            Act::SendWith(on) => self.with_writer(on, |writer| {
                match writer.try_send_with(|buffer| buffer.write_all(INSIDE)) {
                    Err(EncodeError::Send(refused)) => format!("Err({refused:?})"),
                    sent => format!("{sent:?}"),
                }
            }),
            Act::Flush(on) => self.with_writer(on, |writer| {
                let sent = writer.try_send(INSIDE);
                // The same reader's handler may be what it is called from, and then it can only
                // time out.
                let timeout = if on == On::Same { SHORT } else { PATIENCE };
                let flushed = writer.flush(FlushLevel::Handled, timeout).map(drop);
                format!("{sent:?}, {flushed:?}")
            }),
            Act::ShutDownWriter(on) => self.with_writer(on, |writer| {
                let report = writer.shutdown(PATIENCE);
                format!("{:?}", report.map(|report| report.left.messages))
            }),
            Act::DropWriter(on) => self.writer(on).take().map(let_go),
        };
        self.outcomes
            .add(outcome.unwrap_or_else(|| "not there".into()));
    }

    fn with_writer(&self, on: On, act: impl FnOnce(&Writer) -> String) -> Option<String> {
        self.writer(on).get().map(|writer| act(&writer))
    }
}

fn let_go<T>(object: Arc<T>) -> String {
    let is_last = Arc::strong_count(&object) == 1;
    drop(object);
    if is_last {
        "the last dropped"
    } else {
        "one dropped"
    }
    .into()
}
