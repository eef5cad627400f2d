//! A writer's memory as its reader finds it after the writer's death: where what lies, how a
//! connection is told of it, and what is still to be delivered.
//! Pure but for `passed`, which reads it: no threads, no clock.
//!
//! ```text
//! header │ records │ words of the slots │ slots
//!        │         │                    └ frames, one behind the other
//!        │         └ how far each slot is published, and how far records cover it
//!        └ which part of which slot waits to be written, and in which order
//! ```
//!
//! The writer alone stores, one word at a time, and each store leaves everything right: there is no
//! moment at which its death would lose a message, or give one twice. What holds at any time:
//!
//! - A message that was accepted, and is not done with, lies in a record, or in a slot behind all
//!   that records ever covered. Where two records cover the same bytes, one of them is just taking
//!   over from the other.
//! - A message has a number before the kernel has its first byte. Numbers count what goes out, so
//!   that a reader that knows a connection's first number, and how many messages it had, knows
//!   which it has.
//! - A record is freed only when the kernel has its last byte, or a receipt covers it.

pub(crate) mod frames;
pub(crate) mod layout;
pub(crate) mod passed;
pub(crate) mod recovery;
pub(crate) mod ticket;
