//! The reader's threads: the supervisor keeps the times, and the workers run the user's code.

mod accept;
mod batch;
pub(super) mod supervisor;
mod turn;
mod worker;
