//! A batch: messages that one turn brought, in memory of their own, and how they are confirmed
//! later.

use std::fmt;
use std::iter::FusedIterator;
use std::mem;
use std::slice;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::connection::Connection;
use super::connection::batch_end::BatchEnd;
use super::connection::receipts::Receipts;
use super::shared::{READ_SIZE, Shared};
use crate::buffer_pool::Pool;
use crate::peer::Peer;
use crate::sys::fork::HomeProcess;

/// Messages that came together on one connection, to be confirmed together.
///
/// [`done`](Self::done) says that they are stored. A batch that is dropped without it is not, which
/// counts as an error of the handler: with `AtMostOnce` its messages are lost. With
/// [`AtLeastOnce`](crate::Delivery::AtLeastOnce) they come again on another connection, and so does
/// what came behind them on this one: [`Batches`](crate::Batches) gives out no more of it, and a
/// batch of it that is out already is confirmed in vain. Who stores in order takes one batch after
/// the other, or drops those of the same [connection](crate::Peer::connection) too.
///
/// One that is lent, by [`start_batch_handler`](crate::BoundReader::start_batch_handler), is
/// confirmed by the closure's return.
#[must_use = "a batch that is dropped without `done` counts as not stored"]
pub struct Batch {
    messages: Messages,
    peer: Peer,
    /// `None` for one that is lent.
    out: Option<Out>,
}

/// What a batch that is out has to settle.
struct Out {
    /// The memory that it holds.
    held: usize,
    /// By which its connection knows it.
    number: u64,
    is_stored: bool,
    receipts: Arc<Mutex<Receipts>>,
    /// It may end, and the reader too, while this is out.
    connection: Weak<Connection>,
    shared: Weak<Shared>,
    process: HomeProcess,
}

/// The messages of a batch, in the buffers that they were read into.
#[derive(Debug, Default)]
pub(super) struct Messages {
    count: usize,
    parts: Vec<Part>,
    /// Where the buffer begins that is read into now, and how much of it was read. A message in it
    /// is not copied.
    current: (usize, usize),
    /// Where messages lie in it. To find them again would cost whoever takes the batch a miss of
    /// the cache for each, one after the other.
    places: Vec<Place>,
}

/// A buffer, and where messages lie in it. Without a place it is one message.
#[derive(Debug)]
struct Part {
    buffer: Vec<u8>,
    places: Vec<Place>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    start: u32,
    len: u32,
}

/// How long a message with its prefix is, most often at least. More places are made where not.
const SHORT: usize = 32;

impl Messages {
    pub(super) fn read_begin(&mut self, buffer: &[u8]) {
        self.current = (buffer.as_ptr().addr(), buffer.len());
        self.places.reserve(buffer.len() / SHORT);
    }

    #[inline]
    pub(super) fn add(&mut self, message: &[u8]) {
        self.count += 1;
        let (begin, len) = self.current;
        let start = message.as_ptr().addr().wrapping_sub(begin);
        match (u32::try_from(start), u32::try_from(message.len())) {
            (Ok(from), Ok(message_len)) if start < len => self.places.push(Place {
                start: from,
                len: message_len,
            }),
            _ => self.add_part(message),
        }
    }

    /// Adds a message that came in pieces, or is a long one.
    #[cold]
    fn add_part(&mut self, message: &[u8]) {
        self.parts.push(Part {
            buffer: message.to_vec(),
            places: Vec::new(),
        });
    }

    /// Takes the buffer if messages lie in it. Where it is hardly used, a copy does.
    pub(super) fn read_end(&mut self, buffer: &mut Vec<u8>, pool: &Pool) {
        if self.places.is_empty() {
            return;
        }
        let places = mem::take(&mut self.places);
        let (_, len) = self.current;
        let used = buffer.get(..len).unwrap_or_default();
        let buffer = if used.len() < buffer.len() / 4 {
            used.to_vec()
        } else {
            mem::replace(buffer, pool.take())
        };
        self.parts.push(Part { buffer, places });
    }

    fn iter(&self) -> Iter<'_> {
        Iter {
            left: self.count,
            parts: self.parts.iter(),
            buffer: &[],
            places: [].iter(),
        }
    }

    /// The memory that they hold, in bytes.
    fn held(&self) -> usize {
        let held =
            |part: &Part| part.buffer.capacity() + part.places.capacity() * size_of::<Place>();
        self.parts.iter().map(held).sum()
    }

    /// Gives the memory to later batches.
    fn give_back(&mut self, pool: &Pool) {
        for Part { buffer, .. } in self.parts.drain(..) {
            if buffer.capacity() >= READ_SIZE {
                pool.give(buffer);
            }
        }
    }
}

/// The messages of a batch, one after the other.
struct Iter<'a> {
    left: usize,
    parts: slice::Iter<'a, Part>,
    /// The rest of the part that the last message came from.
    buffer: &'a [u8],
    places: slice::Iter<'a, Place>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let Some(Place { start, len }) = self.places.next() else {
            return self.next_part();
        };
        self.left -= 1;
        let start = usize::try_from(*start).ok()?;
        let len = usize::try_from(*len).ok()?;
        self.buffer.get(start..start + len)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<'a> Iter<'a> {
    fn next_part(&mut self) -> Option<&'a [u8]> {
        let Part { buffer, places } = self.parts.next()?;
        if places.is_empty() {
            self.left -= 1;
            return Some(buffer);
        }
        (self.buffer, self.places) = (buffer, places.iter());
        self.next()
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl FusedIterator for Iter<'_> {}

impl Batch {
    /// Hands out what a turn at a connection has brought.
    pub(super) fn new(
        messages: Messages,
        end: BatchEnd,
        connection: &Arc<Connection>,
        shared: &Arc<Shared>,
        process: HomeProcess,
    ) -> Self {
        let held = messages.held();
        shared.note_out(held);
        let number = connection.receipts.lock().hand_out(end, held);
        let out = Out {
            held,
            number,
            is_stored: false,
            receipts: Arc::clone(&connection.receipts),
            connection: Arc::downgrade(connection),
            shared: Arc::downgrade(shared),
            process,
        };
        Self {
            messages,
            peer: connection.peer,
            out: Some(out),
        }
    }

    /// Lends what a turn has brought to `look`.
    pub(super) fn lend<T>(
        messages: Messages,
        connection: &Connection,
        shared: &Shared,
        look: impl FnOnce(&Self) -> T,
    ) -> T {
        let mut batch = Self {
            messages,
            peer: connection.peer,
            out: None,
        };
        let outcome = look(&batch);
        batch.messages.give_back(&shared.buffers);
        outcome
    }

    /// The messages, in order; at least one.
    #[must_use]
    pub fn messages(&self) -> impl ExactSizeIterator<Item = &[u8]> + FusedIterator {
        self.messages.iter()
    }

    /// The connection that they came on.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// The messages are stored: the writer is given a receipt for them, if it wants one, as soon as
    /// all batches before this one are confirmed too. From any thread, at any time.
    pub fn done(mut self) {
        if let Some(out) = &mut self.out {
            out.is_stored = true;
        }
    }

    /// A batch before it on its connection was dropped, and what it holds comes again behind that.
    pub(super) fn is_void(&self) -> bool {
        self.out
            .as_ref()
            .is_some_and(|out| out.receipts.lock().is_void())
    }
}

impl Out {
    /// Says what has become of the batch.
    fn settle(&self, shared: &Arc<Shared>, peer: &Peer) {
        let connection = self.connection.upgrade();
        let mut receipts = self.receipts.lock();
        let counts = receipts.settle(self.number, self.is_stored);
        if let Some(connection) = &connection {
            connection.answer(&mut receipts);
        }
        let (must_serve, must_end) = (receipts.must_serve(), receipts.must_end());
        drop(receipts);
        if counts && !self.is_stored {
            shared.counters.handler_errors.add(1);
        }
        if must_serve {
            shared.serve_soon(peer.connection, must_end);
        }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        let Some(out) = &self.out else { return };
        // In a forked child it is a copy: what becomes of it is the parent's affair, and the locks
        // may be held for ever.
        if out.process.is_elsewhere_for_certain() {
            return;
        }
        let Some(shared) = out.shared.upgrade() else {
            return;
        };
        self.messages.give_back(&shared.buffers);
        out.settle(&shared, &self.peer);
        shared.note_back(out.held);
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("messages", &self.messages.count)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reader::connection::decoder::{Decoder, Frame};
    use crate::wire::frame;
    use proptest::prelude::*;

    /// The messages that come out when `stream` is read into buffers of `size` bytes, in reads of
    /// `lens`.
    fn gather(stream: &[u8], size: usize, lens: &[usize]) -> Vec<Vec<u8>> {
        let (pool, pieces) = (Pool::new(2, size), Pool::new(2, 100));
        let (mut decoder, mut messages) = (Decoder::new(usize::MAX), Messages::default());
        let (mut buffer, mut rest) = (Vec::new(), stream);
        let mut lens = lens.iter().copied().cycle();
        while !rest.is_empty() {
            buffer.resize(size, 0);
            let len = lens.next().unwrap_or(1).clamp(1, size.min(rest.len()));
            let (piece, later) = rest.split_at(len);
            rest = later;
            buffer[..len].copy_from_slice(piece);
            let mut input = &buffer[..len];
            messages.read_begin(input);
            while let Some(frame) = decoder.next(&mut input, &pieces).unwrap() {
                if let Frame::Message(message) = frame {
                    messages.add(message);
                }
            }
            messages.read_end(&mut buffer, &pool);
            decoder.reclaim(&pieces);
        }
        let all = messages.iter();
        assert_eq!(all.len(), messages.count);
        let all: Vec<_> = all.map(<[u8]>::to_vec).collect();
        assert_eq!(all.len(), messages.count);
        all
    }

    proptest! {
        /// However they come: whole in a buffer, in pieces, between questions.
        #[test]
        fn a_batch_has_the_messages_that_were_read(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..60),
            size in 1usize..2_000,
            lens in prop::collection::vec(1usize..2_000, 1..10),
        ) {
            let frames = messages.iter().map(|message| {
                [frame::Prefix::new(message.len()).as_slice(), message].concat()
            });
            let stream: Vec<u8> = frames.flatten().collect();
            let sent: Vec<_> = messages.into_iter().filter(|message| !message.is_empty()).collect();
            prop_assert_eq!(gather(&stream, size, &lens), sent);
        }
    }
}
