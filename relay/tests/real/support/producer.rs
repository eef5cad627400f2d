//! A daemon: a thread that sends numbered log lines, until it is told to end.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use uds_ipc::{Delivery, Writer};

use super::lines::line;
use super::{PATIENCE, pause};

pub(crate) struct Producer {
    names: Vec<String>,
    thread: JoinHandle<u64>,
    must_end: Arc<AtomicBool>,
}

pub(crate) fn writer(socket: &Path) -> Writer {
    let builder = Writer::builder(socket).delivery(Delivery::AtLeastOnce);
    // On a machine that is busy, the relay may not come to read for long.
    let builder = builder.write_timeout(Duration::from_secs(10));
    builder.max_queued_messages(20_000).start().unwrap()
}

pub(crate) fn message(name: &str, number: u64) -> String {
    format!("{name} {number} {}", line(number))
}

impl Producer {
    /// Sends at least `least` messages of each of `names`, one after the other.
    pub(crate) fn start(socket: &Path, names: &[&str], least: u64) -> Self {
        let writer = writer(socket);
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let must_end = Arc::new(AtomicBool::new(false));
        let (its, ends) = (names.clone(), Arc::clone(&must_end));
        let thread = thread::spawn(move || {
            let mut number = 0;
            while number < least || !ends.load(Ordering::Relaxed) {
                number += 1;
                for name in &its {
                    writer
                        .send_timeout(message(name, number), PATIENCE)
                        .unwrap();
                }
                // Bursts, so that a long test does not fill the disk.
                if number % 3_000 == 0 {
                    pause(Duration::from_millis(200));
                }
            }
            let report = writer.shutdown(PATIENCE).unwrap();
            assert_eq!(report.left.messages, 0, "{report:?}");
            number
        });
        Self {
            names,
            thread,
            must_end,
        }
    }

    /// Waits until all is confirmed. Returns the last number of each name.
    pub(crate) fn end(self) -> Vec<(String, u64)> {
        self.must_end.store(true, Ordering::Relaxed);
        let last = self.thread.join().unwrap();
        self.names.into_iter().map(|name| (name, last)).collect()
    }
}

/// What is found where the relay has put it, one message after the other.
#[derive(Default)]
pub(crate) struct Found {
    counts: BTreeMap<String, u64>,
    wrong: Option<String>,
}

impl Found {
    pub(crate) fn look(&mut self, name: &str, number: u64, body: &[u8]) {
        let count = self.counts.entry(name.to_owned()).or_default();
        *count += 1;
        if *count != number {
            self.wrong
                .get_or_insert(format!("{name}: {number} in the place of {count}"));
        } else if body != line(number).as_bytes() {
            self.wrong
                .get_or_insert(format!("{name}: {number} is another message"));
        }
    }

    /// Whether each producer has each number once and in order, with its line. Returns how many
    /// there are.
    pub(crate) fn compare(self, sent: &[(String, u64)]) -> Result<u64, String> {
        let sent: BTreeMap<_, _> = sent.iter().cloned().collect();
        match self.wrong {
            Some(wrong) => Err(wrong),
            None if self.counts == sent => Ok(sent.values().sum()),
            None => Err(format!("{:?} of {sent:?}", self.counts)),
        }
    }

    /// Whether something is wrong with what there is.
    pub(crate) fn is_wrong(&self) -> bool {
        self.wrong.is_some()
    }
}
