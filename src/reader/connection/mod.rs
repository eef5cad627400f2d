//! A connection, and the machines that serve it.

pub(super) mod decoder;
pub(super) mod receipts;
