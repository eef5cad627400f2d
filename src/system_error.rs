//! An error of the system's that can be cloned and compared.
//! A value.

use std::io;
use std::sync::Arc;

use thiserror::Error;

/// An error of the system's, as an event carries it: an [`io::Error`] that can be cloned, compared
/// and sent to another thread. It keeps the kind, the number and the text.
///
/// ```
/// use std::io;
/// use uds_ipc::error::SystemError;
///
/// let error = SystemError::from(io::Error::from_raw_os_error(32));
/// assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
/// assert_eq!(error.raw_os_error(), Some(32));
/// assert_eq!(error.to_string(), "Broken pipe (os error 32)");
/// assert_eq!(io::Error::from(error).kind(), io::ErrorKind::BrokenPipe);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Error)]
#[error("{text}")]
pub struct SystemError {
    kind: io::ErrorKind,
    number: Option<i32>,
    text: Arc<str>,
}

impl SystemError {
    /// The kind of the error, as [`io::Error::kind`].
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        self.kind
    }

    /// The system's number (`errno`), as [`io::Error::raw_os_error`].
    #[must_use]
    pub fn raw_os_error(&self) -> Option<i32> {
        self.number
    }
}

impl From<io::Error> for SystemError {
    fn from(error: io::Error) -> Self {
        Self {
            kind: error.kind(),
            number: error.raw_os_error(),
            text: error.to_string().into(),
        }
    }
}

/// The same error again; one without a number has the text as its cause.
impl From<SystemError> for io::Error {
    fn from(error: SystemError) -> Self {
        match error.number {
            Some(number) => Self::from_raw_os_error(number),
            None => Self::new(error.kind, error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_that_went_through_an_event_is_the_same() {
        let broken = || io::Error::from_raw_os_error(nix::libc::EPIPE);
        let kind_only = || io::Error::from(io::ErrorKind::TimedOut);
        let with_text = || io::Error::new(io::ErrorKind::NotFound, "no such thing");
        for make in [&broken as &dyn Fn() -> io::Error, &kind_only, &with_text] {
            let error = SystemError::from(make());
            assert_eq!(error, SystemError::from(make()));
            let again = io::Error::from(error.clone());
            assert_eq!(again.kind(), make().kind());
            assert_eq!(again.raw_os_error(), make().raw_os_error());
            assert_eq!(again.to_string(), make().to_string());
            assert_eq!(SystemError::from(again), error);
        }
        assert_ne!(SystemError::from(broken()), kind_only().into());
    }
}
