//! What stands on the wire: frames from the writer, receipts from the reader.
//! Pure: no I/O, no clock.

pub(crate) mod frame;
pub(crate) mod receipt;
