//! The reader's threads: one that keeps the times, and those that run the user's code.

pub(super) mod batch;
pub(super) mod supervisor;
pub(super) mod turn;
pub(super) mod worker;
