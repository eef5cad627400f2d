//! What messages are handed to at a steady pace.
//! The pace itself is kept elsewhere.

use super::failure::Failure;

/// Takes messages.
pub(super) trait Target {
    /// What is not timed.
    fn prepare(&mut self) {}

    /// Hands over one message, which may carry the time. Says whether there was room.
    fn try_send(&mut self, now: u64) -> bool;

    /// Sends what there was no room for: the other end counts on it.
    fn send_late(&mut self) -> Result<(), Failure>;
}
