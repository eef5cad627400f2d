//! Events: what happens on the threads of a writer or reader, once a call has returned.
//!
//! An observer that is set with [`WriterBuilder::on_event`](crate::WriterBuilder::on_event) gets
//! each [`WriterEvent`], one that is set with
//! [`ReaderBuilder::on_event`](crate::ReaderBuilder::on_event) each [`ReaderEvent`]. There are
//! events for transitions only, never one a message. Their `Display` is a line for a log, with all
//! causes.
//!
//! | event | its cause |
//! | --- | --- |
//! | [`WriterEvent::ConnectFailed`] | [`ConnectError`] |
//! | [`WriterEvent::Lost`] | [`LostCause`], and in it [`BadReceipt`] |
//! | [`ReaderEvent::Closed`] | [`CloseCause`] |
//! | [`ReaderEvent::Refused`] | [`RefuseCause`] |
//! | [`ReaderEvent::NotifyFailed`] | [`NotifyError`] |
//!
//! The system's own errors are in them as [`SystemError`](crate::error::SystemError), so that
//! events can be cloned, compared and sent to another thread.

mod reader;
mod writer;

use std::error::Error;
use std::fmt;
use std::time::Duration;

#[cfg(feature = "systemd")]
pub use reader::NotifyError;
pub use reader::{CloseCause, ReaderEvent, RefuseCause};
pub use writer::{BadReceipt, ConnectError, LostCause, WriterEvent};

/// A wait, in words.
struct Soon(Duration);

impl fmt::Display for Soon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_zero() {
            f.write_str("at once")
        } else {
            write!(f, "in {} ms", self.0.as_millis())
        }
    }
}

/// An error with all its causes.
struct Chain<'a>(&'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::address::Address;
    use crate::peer::{Credentials, Peer};

    #[test]
    fn an_event_reads_as_a_line_of_a_log_with_its_causes() {
        let address = Address::new("/run/a.sock").unwrap();
        let cause = LostCause::Failed(io::Error::from(io::ErrorKind::BrokenPipe).into());
        let retry_in = Duration::from_millis(10);
        let lost = WriterEvent::Lost {
            address,
            cause,
            unread: true,
            retry_in,
        };
        assert_eq!(
            lost.to_string(),
            "lost the connection to /run/a.sock, with messages unread: writing failed: broken pipe; next try in 10 ms"
        );
        let credentials = Credentials {
            uid: 7,
            gid: 8,
            pid: Some(9),
        };
        let peer = Peer {
            connection: 3,
            credentials,
        };
        let closed = ReaderEvent::Closed {
            peer,
            cause: CloseCause::TooLarge { len: 11, limit: 10 },
        };
        assert_eq!(
            closed.to_string(),
            "connection 3 (uid 7, gid 8, pid 9) closed: the peer announced a message of 11 bytes, above the limit of 10: \
             raise max_message_len if it is wanted"
        );
    }
}
