//! What a try to connect has come to.
//! Values.

use std::io;

use crate::event::ConnectError;

/// What an attempt to connect has come to.
#[derive(Debug)]
pub(crate) enum Attempt<S> {
    Connected(S),
    /// It takes its time.
    UnderWay,
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The reader is there, and does not accept.
    BacklogFull,
    Cause(ConnectError),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Cause(ConnectError::Io(error.into()))
    }
}
