//! The reader's threads: the supervisor handles timeouts, and the workers run the user's code.

mod accept;
mod batch;
pub(super) mod supervisor;
mod turn;
mod worker;
