//! Room for one message, filled in place.

use std::fmt;
use std::mem;
use std::ops::{Deref, DerefMut};

use crate::error::SendError;
use crate::message::without_slack;
use crate::metrics::Tally;
use crate::writer::queue::block::OWN_BLOCK_SIZE;
use crate::writer::shared::{Patience, Shared};

/// Room for one message in a writer's queue, made by [`Writer::reserve`](crate::Writer::reserve).
///
/// It is a slice of zeros to be filled; [`commit`](Self::commit) sends it. Dropped without, it
/// sends nothing, and its room is free again. The message has its place in the order when it is
/// committed. No lock is held meanwhile.
///
/// ```
/// use std::io::Write;
/// # let writer = uds_ipc::Writer::new("/tmp/nobody-is-there.sock")?;
///
/// let mut slot = writer.reserve(64)?;
/// let mut rest = &mut slot[..];
/// write!(rest, "requests:{}|c", 17)?;
/// let unused = rest.len();
/// slot.truncate(64 - unused);
/// slot.commit()?;
/// assert_eq!(writer.metrics().accepted.bytes, 13);
/// # writer.shutdown(std::time::Duration::ZERO)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct WriteSlot<'a> {
    shared: &'a Shared,
    buffer: Vec<u8>,
    /// How much room is reserved; `None` once it is given up.
    reserved: Option<usize>,
}

impl<'a> WriteSlot<'a> {
    /// The caller has reserved `len` bytes in the queue.
    pub(crate) fn new(shared: &'a Shared, len: usize) -> Self {
        let mut buffer = shared.buffers.take();
        buffer.clear();
        buffer.resize(len, 0);
        Self {
            shared,
            buffer,
            reserved: Some(len),
        }
    }

    /// Shortens the message to its first `len` bytes. Does nothing when it is not longer.
    pub fn truncate(&mut self, len: usize) {
        self.buffer.truncate(len);
    }

    /// Sends the message. Never blocks.
    ///
    /// # Errors
    /// When the writer was shut down since the slot was reserved.
    pub fn commit(mut self) -> Result<(), SendError<()>> {
        let buffer = mem::take(&mut self.buffer);
        let Some(reserved) = self.reserved.take() else {
            return Ok(());
        };
        let len = buffer.len();
        let pushed = match buffer.len() {
            0 => self.shared.push(Patience::None, |queue| {
                queue.unreserve(reserved);
                queue.check_open()
            }),
            1..OWN_BLOCK_SIZE => {
                let pushed = self.shared.push_in_order(Patience::None, |queue| {
                    queue.unreserve(reserved);
                    queue.push(&buffer)
                });
                self.shared.buffers.give(buffer);
                pushed
            }
            len => {
                let mut buffer = Some(without_slack(buffer));
                self.shared.push_in_order(Patience::None, |queue| {
                    queue.unreserve(reserved);
                    queue.push_owned(len, || buffer.take().unwrap_or_default().into())
                })
            }
        };
        pushed.map_err(|refusal| self.shared.refuse(refusal, Tally::one(len), ()))
    }
}

impl Drop for WriteSlot<'_> {
    fn drop(&mut self) {
        if let Some(reserved) = self.reserved.take() {
            self.shared.release(reserved);
            self.shared.buffers.give(mem::take(&mut self.buffer));
        }
    }
}

impl Deref for WriteSlot<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buffer
    }
}

impl DerefMut for WriteSlot<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.buffer
    }
}

impl fmt::Debug for WriteSlot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteSlot")
            .field("len", &self.buffer.len())
            .finish_non_exhaustive()
    }
}
