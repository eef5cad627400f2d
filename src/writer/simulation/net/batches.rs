//! A receiver of batches in the simulated world: what the reader reads goes out to it, and it
//! confirms and drops in whatever order.

use super::{Answers, Connection, Net};
use crate::reader::SimulatedFate;

/// A batch that is out.
#[derive(Debug)]
pub(super) struct Held {
    /// By which its connection knows it.
    batch: u64,
    messages: Vec<usize>,
}

impl Net {
    /// Reads a batch of at most `most` bytes, unless enough are out, and hands it out.
    pub(super) fn hand_out(&mut self, connection: &mut Connection, most: usize) {
        if connection.is_gone || connection.is_ending || !connection.machine.may_read() {
            return;
        }
        let (batch, messages) = self.decode(connection, most, |_| true);
        connection.is_ending = batch.is_malformed();
        connection.refuses_rest = batch.is_too_large();
        if batch.messages == 0 {
            connection.machine.end_empty(batch);
        } else {
            let batch = connection.machine.hand_out(batch);
            connection.held.push(Held { batch, messages });
        }
        self.after_batch(connection);
    }

    /// The receiver confirms a batch that it holds, or drops it.
    pub(crate) fn settle(&mut self, which: usize, is_stored: bool) {
        if let Some(mut connection) = self.connection.take() {
            if let Some(which) = which.checked_rem(connection.held.len()) {
                self.settle_of(&mut connection, which, is_stored);
            }
            self.connection = Some(connection);
        }
    }

    fn settle_of(&mut self, connection: &mut Connection, which: usize, is_stored: bool) {
        let Held { batch, messages } = connection.held.remove(which);
        if is_stored {
            self.store(&messages);
        }
        connection.machine.settle(batch, is_stored);
        self.after_batch(connection);
    }

    /// It confirms all that it holds, the newest first.
    pub(crate) fn settle_all(&mut self) {
        if let Some(mut connection) = self.connection.take() {
            self.settle_all_of(&mut connection);
            self.connection = Some(connection);
        }
    }

    pub(super) fn settle_all_of(&mut self, connection: &mut Connection) {
        while let Some(last) = connection.held.len().checked_sub(1) {
            self.settle_of(connection, last, true);
        }
    }

    fn after_batch(&mut self, connection: &mut Connection) {
        let fate = connection.machine.fate();
        let is_void = fate == SimulatedFate::EndsAtOnce;
        let is_over = connection.is_ending && connection.held.is_empty();
        if is_over && connection.refuses_rest {
            connection.machine.refuse_next();
        }
        self.answer_from(connection, usize::MAX, Answers::AtOnce);
        if is_void || is_over {
            self.lose(connection);
        } else if fate == SimulatedFate::EndsWithTheRest && !connection.is_shut {
            self.read_rest(connection);
        }
    }

    /// Hands out all that is there, and confirms it: as often as it takes.
    pub(super) fn hand_out_rest(&mut self, connection: &mut Connection) {
        while !connection.is_gone && !connection.is_ending && !connection.to_reader.is_empty() {
            self.hand_out(connection, usize::MAX);
            if !connection.machine.may_read() {
                self.settle_all_of(connection);
            }
        }
        self.settle_all_of(connection);
    }
}
