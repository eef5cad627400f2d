//! Events: what happens on the threads of a writer or reader, once a call has returned.
//!
//! An observer that is set with [`WriterBuilder::on_event`](crate::WriterBuilder::on_event) gets
//! each [`WriterEvent`], one that is set with
//! [`ReaderBuilder::on_event`](crate::ReaderBuilder::on_event) each [`ReaderEvent`]. There are
//! events for transitions only, never one a message. Their `Display` is a line for a log, with all
//! causes, and their `severity` says how much they matter: most are [`Severity::Debug`], since
//! connections come and go.
//!
//! | event | its cause |
//! | --- | --- |
//! | [`WriterEvent::ConnectFailed`] | [`ConnectError`] |
//! | [`WriterEvent::Lost`] | [`LostCause`], and in it [`BadReceipt`] |
//! | [`WriterEvent::NotCrashProof`] | [`CrashProofError`] |
//! | [`ReaderEvent::Closed`] | [`CloseCause`] |
//! | [`ReaderEvent::Refused`] | [`RefuseCause`] |
//! | [`ReaderEvent::NotifyFailed`], [`WriterEvent::NotifyFailed`] | [`NotifyError`] |
//!
//! The system's own errors are in them as [`SystemError`](crate::error::SystemError), so that
//! events can be cloned, compared and sent to another thread.
//!
//! With the feature `serde` an event is `Serialize`, to be a line of a structured log: `event` has
//! its name, and times are in seconds. A cause is its name, with what belongs to it, and a
//! handler's error is its text, with all causes:
//!
//! ```json
//! {
//!   "event": "connect_failed",
//!   "address": "/run/a.sock",
//!   "cause": {"io": {
//!     "kind": "NotFound", "os_error": 2, "text": "No such file or directory (os error 2)"
//!   }},
//!   "retry_in": 0.01
//! }
//! ```

#[cfg(all(unix, feature = "systemd"))]
mod notify_error;
mod reader;
mod severity;
mod writer;

use std::error::Error;
use std::fmt;
use std::time::Duration;

#[cfg(all(unix, feature = "systemd"))]
pub use notify_error::NotifyError;
pub use reader::{CloseCause, ReaderEvent, RefuseCause};
pub use severity::Severity;
pub use writer::{BadReceipt, ConnectError, CrashProofError, LostCause, WriterEvent};

/// How fields are written by `serde`.
#[cfg(feature = "serde")]
mod form {
    use std::error::Error;
    #[cfg(all(unix, feature = "systemd"))]
    use std::ffi::OsString;
    use std::sync::Arc;
    use std::time::Duration;

    use serde::Serializer;

    use super::Chain;

    pub(super) fn seconds<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(time.as_secs_f64())
    }

    #[expect(clippy::ref_option, reason = "serde calls it so")]
    pub(super) fn seconds_if_any<S: Serializer>(
        time: &Option<Duration>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => seconds(time, to),
            None => to.serialize_none(),
        }
    }

    pub(super) fn chain<S: Serializer>(
        error: &Arc<dyn Error + Send + Sync>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_str(&Chain(&**error))
    }

    /// What is no UTF-8 is replaced.
    #[cfg(all(unix, feature = "systemd"))]
    pub(super) fn lossy<S: Serializer>(text: &OsString, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&text.to_string_lossy())
    }
}

/// When the next connection is tried, in words.
struct NextTry(Option<Duration>);

impl fmt::Display for NextTry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("there is no other"),
            Some(Duration::ZERO) => f.write_str("next try at once"),
            Some(wait) => write!(f, "next try in {} ms", wait.as_millis()),
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
    #[cfg(feature = "serde")]
    use std::sync::Arc;

    use super::*;
    use crate::address::Address;
    use crate::metrics::Tally;
    use crate::peer::{Credentials, Identity, Peer};

    #[test]
    fn an_event_reads_as_a_line_of_a_log_with_its_causes() {
        let address = Address::new("/run/a.sock").unwrap();
        let cause = LostCause::Failed(io::Error::from(io::ErrorKind::BrokenPipe).into());
        let retry_in = Duration::from_millis(10);
        let lost = WriterEvent::Lost {
            address,
            cause,
            unread: true,
            retry_in: Some(retry_in),
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
            identity: Identity::Process(credentials),
            recovered: false,
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

    #[test]
    fn connections_that_come_and_go_are_no_news() {
        let address = Address::new("/run/a.sock").unwrap();
        let lost = |cause, unread| WriterEvent::Lost {
            address: address.clone(),
            cause,
            unread,
            retry_in: Some(Duration::ZERO),
        };
        let stopped = |messages| WriterEvent::Stopped {
            address: address.clone(),
            left: Tally { messages, bytes: 1 },
        };
        for (event, severity) in [
            (lost(LostCause::Closed, false), Severity::Debug),
            (lost(LostCause::Closed, true), Severity::Error),
            (
                lost(LostCause::WriteTimeout(Duration::ZERO), false),
                Severity::Warning,
            ),
            (stopped(0), Severity::Info),
            (stopped(1), Severity::Error),
        ] {
            assert_eq!(event.severity(), severity, "{event}");
        }
        let credentials = Credentials {
            uid: 7,
            gid: 8,
            pid: None,
        };
        let peer = Peer {
            connection: 3,
            identity: Identity::Process(credentials),
            recovered: false,
        };
        for (cause, severity) in [
            (CloseCause::Idle, Severity::Debug),
            (CloseCause::EndOfStream, Severity::Debug),
            (CloseCause::InvalidPrefix, Severity::Warning),
            (CloseCause::NotStored, Severity::Error),
        ] {
            let event = ReaderEvent::Closed { peer, cause };
            assert_eq!(event.severity(), severity, "{event}");
        }
        assert!(Severity::Debug < Severity::Info && Severity::Warning < Severity::Error);
    }

    #[test]
    #[cfg(feature = "serde")]
    fn an_event_is_written_as_one_flat_object_with_its_causes() {
        let address = Address::new("/run/a.sock").unwrap();
        let peer = Peer {
            connection: 3,
            identity: Identity::Process(Credentials {
                uid: 7,
                gid: 8,
                pid: Some(9),
            }),
            recovered: false,
        };
        let json = |event: WriterEvent| serde_json::to_value(event).unwrap();
        let cause = ConnectError::Io(io::Error::from_raw_os_error(2).into());
        let retry_in = Duration::from_millis(10);
        assert_eq!(
            json(WriterEvent::ConnectFailed {
                address: address.clone(),
                cause,
                retry_in: Some(retry_in),
            }),
            serde_json::json!({
                "event": "connect_failed",
                "address": "/run/a.sock",
                "cause": {"io": {
                    "kind": "NotFound",
                    "os_error": 2,
                    "text": "No such file or directory (os error 2)",
                }},
                "retry_in": 0.01,
            })
        );
        assert_eq!(
            json(WriterEvent::Lost {
                address,
                cause: LostCause::WriteTimeout(Duration::from_secs(1)),
                unread: false,
                retry_in: Some(retry_in),
            })["cause"],
            serde_json::json!({"write_timeout": 1.0})
        );
        let error = Arc::new(io::Error::new(
            io::ErrorKind::StorageFull,
            "the disk is full",
        ));
        let json = |event: ReaderEvent| serde_json::to_value(event).unwrap();
        assert_eq!(
            json(ReaderEvent::HandlerFailed { peer, error }),
            serde_json::json!({
                "event": "handler_failed",
                "peer": {
                    "connection": 3,
                    "identity": {"process": {"uid": 7, "gid": 8, "pid": 9}},
                    "recovered": false,
                },
                "error": "the disk is full",
            })
        );
        let cause = CloseCause::TooLarge { len: 11, limit: 10 };
        assert_eq!(
            json(ReaderEvent::Closed { peer, cause })["cause"],
            serde_json::json!({"too_large": {"len": 11, "limit": 10}})
        );
        let cause = CloseCause::Idle;
        assert_eq!(json(ReaderEvent::Closed { peer, cause })["cause"], "idle");
    }
}
