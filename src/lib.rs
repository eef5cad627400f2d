//! The fast way to hand log lines, metrics and events to another daemon on the same machine, over a
//! Unix socket.
//!
//! A program hands a message over and forgets it; a collector on the same host gets it. A
//! [`Writer`] takes messages at once and sends them from a thread of its own, many with each system
//! call; a [`Reader`] accepts connections and gives every message to a function. The wire is that
//! of the Go library uds-ipc, in both directions.
//!
//! # Both ends
//!
//! ```
//! use std::time::Duration;
//! use uds_ipc::{Reader, Writer};
//!
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("telemetry.sock");
//! // In the collector:
//! let reader = Reader::builder(&path).bind()?.start(|message| {
//!     println!("{}", String::from_utf8_lossy(message));
//! })?;
//!
//! // In each daemon:
//! let writer = Writer::start(&path)?;
//! writer.try_send("requests:17|c")?;
//!
//! // At the end of each:
//! let report = writer.shutdown(Duration::from_secs(5))?;
//! assert_eq!(report.left.messages, 0);
//! let report = reader.shutdown(Duration::from_secs(5))?;
//! assert_eq!(report.metrics.received.messages, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The two may start in any order, and either may go away and come back.
//!
//! # Words
//!
//! | word | meaning |
//! | --- | --- |
//! | message | what you send: some bytes, at most 10 MiB unless set |
//! | frame | a message on the wire: its length, then its bytes |
//! | peer | the process at the other end |
//! | drain | to send, or to read, what is still there before an end |
//! | sent | the kernel has taken the last byte; not read, handled or kept |
//!
//! # Sending
//!
//! [`Writer::try_send`] never blocks: not on the socket, not for the reader. It copies what you
//! borrow to it and takes over what you give it. What does not fit into the queue comes back in the
//! error.
//!
//! ```
//! use std::time::Duration;
//! use uds_ipc::{SendError, Writer};
//!
//! // Nobody reads at this path; the queue has room for two messages.
//! let writer = Writer::builder("/tmp/nobody-is-there.sock").max_queued_messages(2).start()?;
//! writer.try_send("borrowed: copied")?;
//! writer.try_send(String::from("owned: handed over"))?;
//!
//! match writer.try_send(vec![1, 2, 3]) {
//!     Err(SendError::Full(message)) => assert_eq!(message, [1, 2, 3]),
//!     other => panic!("{other:?}"),
//! }
//!
//! // To wait for room instead:
//! assert!(writer.send_timeout("patient", Duration::from_millis(10)).is_err());
//! # let _ = writer.shutdown(Duration::ZERO)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Writer::reserve`] gives room to be filled in place. Threads share a writer by reference or in
//! an [`Arc`](std::sync::Arc); messages of one thread arrive in the order in which it sent them.
//!
//! # Receiving
//!
//! Messages of one connection come one at a time and in order; connections are served side by side.
//! The slice is valid for the call only. A [`Handler`] also learns who sent it, and when a batch
//! ends:
//!
//! ```
//! use std::sync::Mutex;
//! use uds_ipc::{Handler, Peer, Reader, Writer};
//!
//! #[derive(Default)]
//! struct Store(Mutex<Vec<(u64, Vec<u8>)>>);
//!
//! impl Handler for Store {
//!     type Error = std::convert::Infallible;
//!
//!     fn message(&self, message: &[u8], peer: &Peer) -> Result<(), Self::Error> {
//!         self.0.lock().unwrap().push((peer.connection, message.to_vec()));
//!         Ok(())
//!     }
//!
//!     fn batch_end(&self, _: &Peer) -> Result<(), Self::Error> {
//!         // Here a file would be flushed.
//!         Ok(())
//!     }
//! }
//!
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("telemetry.sock");
//! let reader = Reader::builder(&path).bind()?.start_handler(Store::default())?;
//! # drop(reader);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is guaranteed
//!
//! * At most once, the default: nothing is delivered twice. With [`Delivery::AtLeastOnce`] a reader
//!   may be killed at any moment and nothing is lost, and some messages may come twice. Half a
//!   message never comes. <!-- shown by:
//!   `a_reader_stopped_as_planned_thirty_times_loses_nothing_and_repeats_nothing`,
//!   `a_reader_killed_thirty_times_loses_nothing_that_waits_for_receipts`,
//!   `half_frame_is_never_delivered` -->
//! * Messages of one thread arrive in order on one connection; those of different threads have no
//!   order. A reader that takes nothing for the write timeout gets a new connection, which it may
//!   handle beside the rest of the old one: a longer
//!   [`write_timeout`](WriterBuilder::write_timeout) suits readers that pause. <!-- shown by:
//!   `each_thread_keeps_its_order_among_eight`,
//!   `a_handler_slower_than_the_write_timeout_gets_each_message_once` -->
//! * Nothing is lost while the reader is away, stops as planned or closes an idle connection, up to
//!   the bounds of the queue. <!-- shown by:
//!   `without_a_reader_what_fits_is_kept_and_the_rest_is_refused`,
//!   `fifty_planned_stops_under_load_lose_and_repeat_nothing`,
//!   `connections_closed_for_silence_cost_nothing` -->
//! * At most once, a reader that is killed loses what it had read and not handled, and what lay in
//!   its socket's buffer: up to 462,848 bytes with the default settings; on Linux the writer
//!   notices and counts it. <!-- shown by:
//!   `a_reader_killed_ten_times_costs_what_was_on_its_way_without_receipts`,
//!   `a_writer_whose_peer_died_with_bytes_unread_says_so` -->
//! * Memory is bounded at both ends, whatever the other does. <!-- shown by:
//!   `a_peer_that_never_reads_costs_bounded_memory_and_no_time`,
//!   `half_messages_never_hold_much_more_than_they_may` -->
//! * [`Writer::shutdown`] and [`Reader::shutdown`] end in time, whatever the other end or a handler
//!   does. <!-- shown by: `a_shutdown_keeps_its_timeout_whatever_the_reader_does`,
//!   `a_handler_that_never_returns_is_left_behind_at_the_deadline` -->
//!
//! [`guide::delivery`] goes through every case, [`guide::sockets`] through who may connect, and
//! [`guide::promises`] names the tests.
//!
//! # When things go wrong
//!
//! Errors come back from the call that met them. What happens later, on a thread, is an event, told
//! to the observer of [`WriterBuilder::on_event`] and [`ReaderBuilder::on_event`], and a figure in
//! [`Writer::metrics`] and [`Reader::metrics`].
//!
//! | situation | what happens | event | figure |
//! | --- | --- | --- | --- |
//! | no reader is there | the queue holds the messages; the next try comes after 10 ms, later up to 1 s | [`ConnectFailed`](event::WriterEvent::ConnectFailed), once a cause | `queued` |
//! | the queue is full | `try_send` refuses, or drops the oldest | none | `dropped.full`, `dropped.oldest` |
//! | a message is too long to send | `try_send` refuses | none | `dropped.too_large` |
//! | the reader goes away | what the kernel had not taken whole goes to the next | [`Lost`](event::WriterEvent::Lost) | `connects`, `lost_with_unread` |
//! | the reader takes nothing for a second | the writer makes a new connection | [`Lost`](event::WriterEvent::Lost) | `connects` |
//! | the reader hangs up on a message three times | the message is given up | [`GivenUp`](event::WriterEvent::GivenUp) | `failed.given_up` |
//! | the time for a shutdown is over | the rest is given up | [`Stopped`](event::WriterEvent::Stopped) | `failed.left` |
//! | a peer sends no frames, or too long ones | it is hung up on | [`Closed`](event::ReaderEvent::Closed) | `protocol_errors` |
//! | a peer is silent for ten seconds | its connection is closed | [`Closed`](event::ReaderEvent::Closed) | `open` |
//! | the reader gives no receipt for a second, at least once | messages are kept | [`NoReceipt`](event::WriterEvent::NoReceipt) | `queued` |
//! | the handler fails, and the writer has `AtLeastOnce` | what came before is confirmed, the connection is closed, and the writer sends the rest again | [`Closed`](event::ReaderEvent::Closed) | `handler_errors` |
//! | the handler fails for a message, and the writer has `AtMostOnce` | the connection goes on | [`HandlerFailed`](event::ReaderEvent::HandlerFailed), [`HandlerPanicked`](event::ReaderEvent::HandlerPanicked), sparingly | `handler_errors`, `panics` |
//! | no descriptors are left | open connections go on, accepting pauses for 100 ms | [`AcceptPaused`](event::ReaderEvent::AcceptPaused) | `accept_pauses` |
//! | the socket's file is removed or replaced | connections go on, new writers do not come | [`Displaced`](event::ReaderEvent::Displaced) | none |
//!
//! # Wire format
//!
//! A connection is a Unix stream socket that carries frames one after the other:
//!
//! ```text
//! frame = length (unsigned LEB128 varint, 1 to 10 bytes)  payload (length bytes)
//! ```
//!
//! It is that of Protocol Buffers' length-delimited streams, and byte for byte that of the Go
//! library. In hexadecimal:
//!
//! | from the writer | meaning |
//! | --- | --- |
//! | `01 61` | the message `"a"` |
//! | `7f …`, `80 01 …`, `ac 02 …` | messages of 127, 128 and 300 bytes |
//! | `80 80 80 05 …` | a message of 10 MiB |
//! | `81 80 00 61` | the message `"a"`: a length may be padded |
//! | `00` | no message: asks the reader for a receipt, and keeps the connection alive |
//! | `80 00` as the first frame | likewise, and this connection delivers at least once |
//!
//! Any other padded zero, and `80 00` in any other place, means what `00` means. A receipt is one
//! varint on the same socket:
//!
//! | from the reader | meaning |
//! | --- | --- |
//! | `05`, `ac 02` | the reader has dealt with the first 5, or 300, messages of this connection |
//! | `85 00`, `ac 82 00` | likewise, and it refuses the next one for good: it is above its limit |
//! | `80 00` | it refuses the first message |
//!
//! A reader sends no receipt unasked, and the padded one only before it hangs up. A peer that
//! knows only plain receipts reads the same number in it.
//!
//! Readers that do not know these words see an empty frame as an empty message. A writer sends
//! empty frames with [`Delivery::AtLeastOnce`], with a [`keepalive`](WriterBuilder::keepalive), and
//! for a [`flush`](Writer::flush) or a shutdown at the level `Handled`; with none of these it sends
//! none.
//!
//! # Features
//!
//! | feature | what it brings |
//! | --- | --- |
//! | `systemd`, on by default | the module [`systemd`], and sockets that systemd passes. Without it a reader binds its own socket, and `listenfd` and `sd-notify` are not built |
//! | `serde` | `Serialize` and `Deserialize` for figures, [`Address`], [`Peer`], [`Credentials`], [`Delivery`], [`FlushLevel`] and [`Overflow`]; `Serialize` for events |
//! | `cli` | the command-line tool |
//!
//! # Platforms
//!
//! Linux first; macOS and the BSDs are type-checked only, and differ where the docs of an item say
//! so. Windows is not supported yet.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "systemd")]
mod activation;
mod address;
mod backoff;
mod clock;
mod deadline;
mod descriptor_kind;
pub mod error;
pub mod event;
pub mod guide;
mod listen;
mod message;
pub mod metrics;
mod num;
mod observer;
mod outcome;
mod own_thread;
mod peer;
mod pool;
mod reader;
mod reentry;
#[cfg(feature = "systemd")]
mod runtime_directory;
mod send_error;
mod sys;
mod system_error;
#[cfg(feature = "systemd")]
pub mod systemd;
mod wire;
mod writer;

/// For the fuzz targets only: there in no other build.
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing {
    pub use crate::reader::fuzzing::decode;
    pub use crate::writer::fuzzing::take_receipts;
}

pub use address::Address;
pub use listen::{create_socket_dir, remove_stale_socket};
pub use message::IntoMessage;
pub use outcome::Outcome;
pub use peer::{Credentials, Peer};
pub use reader::{BoundReader, Handler, Reader, ReaderBuilder, ReaderReport};
pub use send_error::{EncodeError, SendError};
pub use writer::{Delivery, FlushLevel, Flushed, Overflow, Writer, WriterBuilder, WriterReport};

/// The README's program runs as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
enum Readme {}
