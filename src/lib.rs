//! The fast way to hand log lines, metrics and events to another daemon on the same machine, over a
//! Unix socket.
//!
//! A [`Writer`] in each daemon takes messages without blocking, and sends them from a thread of its
//! own, many with each system call. A [`Reader`] in the collector gives every message to a
//! function. The two may start in any order. Either may go away and come back: the writer keeps
//! messages meanwhile, and reconnects.
//!
//! # In two minutes
//!
//! Until the crate is released, `Cargo.toml` names its folder:
//!
//! ```toml
//! [dependencies]
//! uds-ipc = { path = "../uds-ipc" }
//! ```
//!
//! The collector:
//!
//! ```no_run
//! use uds_ipc::Reader;
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let reader = Reader::builder("/tmp/telemetry.sock").bind()?.start(|message| {
//!         println!("{}", String::from_utf8_lossy(message));
//!     })?;
//!     println!("listening at {}: Enter stops the collector", reader.address());
//!     std::io::stdin().read_line(&mut String::new())?;
//!
//!     // Handles all that was sent, then stops.
//!     let report = reader.shutdown(std::time::Duration::from_secs(5))?;
//!     println!("{}", report.metrics);
//!     Ok(())
//! }
//! ```
//!
//! A collector of one's own waits for SIGTERM in the place of Enter: the example `collector` does,
//! with `signal-hook`.
//!
//! A daemon:
//!
//! ```no_run
//! use std::time::Duration;
//! use uds_ipc::Writer;
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let writer = Writer::builder("/tmp/telemetry.sock")
//!         .on_event(|event| eprintln!("telemetry: {event}"))
//!         .start()?;
//!
//!     // Never blocks. A message that is refused comes back in the error.
//!     if let Err(error) = writer.try_send("requests:17|c") {
//!         eprintln!("telemetry: {error}");
//!     }
//!
//!     // Sends what is queued, for at most five seconds.
//!     let report = writer.shutdown(Duration::from_secs(5))?;
//!     println!("{}; left: {}", report.metrics, report.left);
//!     Ok(())
//! }
//! ```
//!
//! # Know this first
//!
//! * **A path without a reader is no error.** [`Writer::start`] succeeds, and the writer keeps
//!   trying. Only the event [`ConnectFailed`](event::WriterEvent::ConnectFailed) tells of a wrong
//!   path, or of a socket that this user may not write to: set
//!   [`on_event`](WriterBuilder::on_event). A reader's socket has mode 0600 unless set, so that
//!   only its own user and root can send.
//! * **A full queue refuses messages.** It holds 10,000 messages and 64 MiB unless set: at 1,000
//!   messages a second, ten seconds without a reader. Then [`try_send`](Writer::try_send) returns
//!   [`SendError::Full`]: count such errors, and never `unwrap` them. An empty message is refused
//!   too.
//! * **Sent is not handled.** `sent` counts the messages that the kernel has taken. A reader that
//!   is killed loses what lay in its socket's buffer, unless the writer has
//!   [`Delivery::AtLeastOnce`]. [`flush`](Writer::flush) waits until messages are handled.
//! * **A handler's error is not only logged.** With [`Delivery::AtMostOnce`], the default, it is
//!   counted and that message is lost. With `AtLeastOnce` it says that the message is *not stored*:
//!   the connection is closed, and the writer sends from that message on, again and again, until
//!   the handler returns `Ok`. To skip a message return `Ok`.
//! * **A handler that returns `Ok` has confirmed the message**, once its batch has ended. With
//!   `AtLeastOnce` store it before that: a message that was only put into a channel is lost when
//!   the process is killed.
//! * **With `AtLeastOnce` a message may come twice**, and a reader must give receipts: the Go
//!   library's does not.
//! * **Four calls block**: [`shutdown`](Writer::shutdown), [`flush`](Writer::flush),
//!   [`send_timeout`](Writer::send_timeout), and the drop of a writer's last clone or of a reader,
//!   for up to a second. In an async task wrap them in `spawn_blocking`; `try_send` needs no such
//!   thing.
//! * **Shut down before the process ends.** A process that is killed, calls `exit`, or keeps its
//!   writer in a `static` or in a global subscriber loses what is queued: see
//!   [`shutdown_guard`](Writer::shutdown_guard) and [`flush_on_panic`](Writer::flush_on_panic).
//! * **The writer's `max_message_len` must not be above the reader's.** The reader closes the
//!   connection for a longer message. With `AtMostOnce` all that was sent behind it goes down with
//!   the connection.
//! * **A reader that is restarted within a second** is waited for longer each time, up to
//!   [`backoff_max`](WriterBuilder::backoff_max); a receipt, or a second of life, starts over.
//! * **Start after `fork`.** The child has the object, but not its thread: each call there returns
//!   an error.
//! * **Only one thread's messages have an order**, and only on one connection. An async task that
//!   moves between threads counts as several.
//! * **An idle connection is closed after ten seconds**, and soon made again. That is no fault, and
//!   costs no message; the writer's event for it is [`Lost`](event::WriterEvent::Lost). A
//!   [`keepalive`](WriterBuilder::keepalive) or a longer
//!   [`idle_timeout`](ReaderBuilder::idle_timeout) avoids it.
//! * **[`linger`](WriterBuilder::linger) is not `SO_LINGER`.** It is how long the writer's thread
//!   waits for more messages before it sleeps, 200 µs unless set.
//!
//! In tokio:
//!
//! ```
//! # use std::time::Duration;
//! # use uds_ipc::{Reader, Writer};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("telemetry.sock");
//! # let reader = Reader::builder(&path).bind()?.start(|_| ())?;
//! let writer = Writer::start(&path)?; // A clone is another handle.
//! writer.try_send("requests:17|c")?; // Never blocks.
//!
//! let last = writer.clone();
//! let shutdown = move || last.shutdown(Duration::from_secs(5));
//! let report = tokio::task::spawn_blocking(shutdown).await??;
//! # assert_eq!(report.metrics.sent.messages, 1);
//! # Ok(())
//! # }
//! ```
//!
//! # Sending
//!
//! What is borrowed is copied. What is owned is handed over, and comes back in the error when it is
//! refused:
//!
//! ```
//! use std::io::Write;
//! use std::time::Duration;
//! use uds_ipc::{SendError, Writer};
//!
//! // Nobody reads at this path; the queue has room for three messages.
//! let writer = Writer::builder("/tmp/nobody-is-there.sock").max_queued_messages(3).start()?;
//! writer.try_send("borrowed: copied")?;
//! writer.try_send(String::from("owned"))?;
//! writer.try_send_with(|buffer| write!(buffer, "encoded: {}", 17))?;
//!
//! match writer.try_send(vec![1, 2, 3]) {
//!     Err(SendError::Full(message)) => assert_eq!(message, [1, 2, 3]),
//!     other => panic!("{other:?}"),
//! }
//!
//! // To wait for room instead:
//! assert!(writer.send_timeout("patient", Duration::from_millis(10)).is_err());
//! assert_eq!(writer.metrics().dropped.full.messages, 2);
//! # let _ = writer.shutdown(Duration::ZERO)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! To send from several threads, clone the writer or share it by reference.
//!
//! # Receiving
//!
//! The messages of one connection come one at a time and in order; different connections are served
//! at the same time, on threads of the reader. A message is valid for the call only. A closure
//! returns nothing, or a `Result<(), E>`. A [`Handler`] is also told the peer and the end of each
//! batch:
//!
//! ```
//! use std::sync::Mutex;
//! use uds_ipc::{Handler, Peer, Reader};
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
//!         // Here a handler flushes its file.
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
//! * With [`Delivery::AtMostOnce`], the default, nothing is delivered twice. With
//!   [`Delivery::AtLeastOnce`] a reader may be killed at any moment and nothing is lost, and some
//!   messages may come twice. Half a message is never delivered. <!-- shown by:
//!   `a_reader_stopped_as_planned_thirty_times_loses_nothing_and_repeats_nothing`,
//!   `a_reader_killed_thirty_times_loses_nothing_that_waits_for_receipts`,
//!   `half_frame_is_never_delivered` -->
//! * Messages of one thread arrive in order on one connection. After a write timeout the reader may
//!   handle the rest of the old connection while it handles the new one: a longer
//!   [`write_timeout`](WriterBuilder::write_timeout) suits readers that pause. <!-- shown by:
//!   `each_thread_keeps_its_order_among_eight`,
//!   `a_handler_slower_than_the_write_timeout_gets_each_message_once` -->
//! * Nothing is lost while the reader is away, stops as planned or closes an idle connection, up to
//!   the bounds of the queue. <!-- shown by:
//!   `without_a_reader_what_fits_is_kept_and_the_rest_is_refused`,
//!   `fifty_planned_stops_under_load_lose_and_repeat_nothing`,
//!   `connections_closed_for_silence_cost_nothing` -->
//! * With `AtMostOnce` a reader that is killed loses what it had read and not handled, and what lay
//!   in its socket's buffer: up to 256 KiB (1 MiB where the handler stores at the end of a batch, 2
//!   MiB where a receiver takes batches) and up to 462,848 bytes with the default settings. On
//!   Linux the writer notices and reports that a connection ended with data unread in the socket,
//!   and counts such connections. <!-- shown by:
//!   `a_reader_killed_ten_times_costs_what_was_on_its_way_without_receipts`,
//!   `a_writer_whose_peer_died_with_bytes_unread_says_so` -->
//! * Memory is bounded at both ends, whatever the other end does. <!-- shown by:
//!   `a_peer_that_never_reads_costs_bounded_memory_and_no_time`,
//!   `half_messages_never_hold_much_more_than_they_may` -->
//! * [`Writer::shutdown`] and [`Reader::shutdown`] end in time, whatever the other end or a handler
//!   does. <!-- shown by: `a_shutdown_keeps_its_timeout_whatever_the_reader_does`,
//!   `a_handler_that_never_returns_is_left_behind_at_the_deadline` -->
//!
//! [`guide::delivery`] goes through every case, [`guide::sockets`] says who may connect, and
//! [`guide::promises`] names the tests of each promise. All this is of Unix sockets.
//!
//! # Other streams
//!
//! A writer and a reader also speak over TCP (`tcp:127.0.0.1:7000` for an address), over streams
//! that are there already ([`Writer::over`], [`Reader::serve`]), such as the ends of a socketpair
//! or a pipe, and over what a [`Connector`] makes. [`guide::streams`] says which to take, and what
//! each promises.
//!
//! # When things go wrong
//!
//! A call returns its own errors. What happens later, on a thread, is an event, given to the
//! observer of [`WriterBuilder::on_event`] or [`ReaderBuilder::on_event`], and a figure in
//! [`Writer::metrics`] or [`Reader::metrics`].
//!
//! | situation | what happens | event | figure |
//! | --- | --- | --- | --- |
//! | no reader is there | the queue holds the messages; the writer tries again after 10 ms, later after up to 1 s | [`ConnectFailed`](event::WriterEvent::ConnectFailed), once for each cause | `queued` |
//! | the queue is full | `try_send` refuses the message, or evicts the oldest | none | `dropped.full`, `dropped.oldest` |
//! | a message is too long or empty | `try_send` refuses it | none | `dropped.too_large`, `dropped.empty` |
//! | the reader goes away | what the kernel had not taken whole is sent on the next connection | [`Lost`](event::WriterEvent::Lost) | `connects`, `lost_with_unread` |
//! | the reader takes no byte for a second | the writer makes a new connection | [`Lost`](event::WriterEvent::Lost) | `connects` |
//! | the reader refuses a message, because it is above its limit | a message that the writer still holds is given up: at once where the reader names it in a receipt, otherwise after three probes. With `AtMostOnce` a short message was sent as a whole, and goes down with the connection | [`GivenUp`](event::WriterEvent::GivenUp) | `failed.given_up` |
//! | a shutdown's time is over | the messages that are left fail | [`Stopped`](event::WriterEvent::Stopped) | `failed.left` |
//! | a peer sends something other than frames, or a frame above the limit | its connection is closed | [`Closed`](event::ReaderEvent::Closed) | `protocol_errors` |
//! | a peer is silent for ten seconds | its connection is closed | [`Closed`](event::ReaderEvent::Closed) | `open` |
//! | with `AtLeastOnce`: no receipt comes for a second | messages are kept | [`NoReceipt`](event::WriterEvent::NoReceipt) | `queued` |
//! | with `AtLeastOnce`: the handler fails or panics | what came before is confirmed, the connection is closed, and the writer sends the rest again | [`Closed`](event::ReaderEvent::Closed), [`HandlerFailed`](event::ReaderEvent::HandlerFailed), [`HandlerPanicked`](event::ReaderEvent::HandlerPanicked) | `handler_errors`, `panics` |
//! | with `AtMostOnce`: the handler fails or panics on a message | the connection goes on | [`HandlerFailed`](event::ReaderEvent::HandlerFailed), [`HandlerPanicked`](event::ReaderEvent::HandlerPanicked): the first, and the next after a second without | `handler_errors`, `panics` |
//! | no descriptors are left | open connections go on, accepting pauses for 100 ms | [`AcceptPaused`](event::ReaderEvent::AcceptPaused) | `accept_pauses` |
//! | a [`crash_proof`](guide::crash_proof) writer's process dies | what it had queued is handled as a connection of its own | [`Recovered`](event::ReaderEvent::Recovered) | `recovered` |
//! | likewise without a reader, in a service with a [`descriptor_store`](guide::crash_proof#over-a-restart-of-a-service) | the next process of the service sends it | [`Inherited`](event::WriterEvent::Inherited) | `accepted` |
//! | a writer is to be crash-proof, and cannot be | all is as without | [`NotCrashProof`](event::WriterEvent::NotCrashProof), once for each cause | none |
//! | the socket's file is removed or replaced | open connections go on, new writers do not find the reader | [`Displaced`](event::ReaderEvent::Displaced) | none |
//!
//! # Words
//!
//! The figures, the settings and the guide use these words, each with one meaning.
//!
//! | word | meaning |
//! | --- | --- |
//! | message | the bytes of one send: at least one, at most 10 MiB unless set |
//! | event | what happened on a thread of a writer or a reader, given to its observer |
//! | figure | a number in [`Writer::metrics`] or [`Reader::metrics`]; the books are all figures together, which add up |
//! | sender | a thread that sends through a writer |
//! | worker | a thread of the reader's that serves connections and calls the handler |
//! | handler | your function, or [`Handler`], to which the reader gives each message |
//! | observer | your function that gets the events |
//! | peer | the process at the other end of a connection. Over a Unix socket its credentials are the user, the group and the process id that the kernel knows |
//! | stream | what carries a connection: a Unix socket, TCP, one end of a socketpair, a pipe |
//! | connector | your function that makes the connections of a writer |
//! | frame | a message on the wire: its length as a varint, then its bytes. An empty frame has length zero and is no message |
//! | half message | the beginning of a message of which the rest has not come |
//! | receipt | what the reader sends back: how many messages of this connection have been handled |
//! | request | an empty frame, by which the writer asks for a receipt |
//! | probe | a message's length, sent alone to find out whether the reader refuses the message |
//! | queue | the messages that were accepted and have not ended; its bounds are `max_queued_messages` in messages and `max_queued_bytes` in bytes |
//! | slot | 128 KiB of memory for frames |
//! | lane | a slot in which one sender writes frames without a lock |
//! | block | a range of a slot, whole frames that go to the kernel together. A message that is handed over is a block of its own |
//! | turn | one visit of a worker to a connection: a few reads |
//! | batch | the messages that one turn gave to the handler, or to a receiver of batches. There it is out until it is confirmed or dropped |
//!
//! What becomes of a message:
//!
//! | word | meaning |
//! | --- | --- |
//! | accepted | the writer has it in its queue: the send returned `Ok` |
//! | refused | turned away: a message by a send that returns an error, or by a reader because it is above its limit; a peer by a reader, before a byte of it is read |
//! | evicted | accepted, then removed from the queue to make room for a newer one, with [`Overflow::DropOldest`] |
//! | dropped | refused by the writer, or evicted |
//! | written, sent | the kernel has taken its last byte. The level is [`FlushLevel::Written`], the figure is `sent` |
//! | read | the reader has taken it from the kernel |
//! | received | the reader has given it to the handler |
//! | handled | the handler has returned for it and for the end of its batch; with `AtLeastOnce`, without an error |
//! | confirmed | with `AtLeastOnce`: a receipt covers it |
//! | resent | with `AtLeastOnce`: sent once more, because its connection ended before a receipt covered it |
//! | failed | accepted, and given up or left |
//! | given up | removed from the queue because the reader refuses it, so that the messages behind it get through |
//! | left | still in the queue when a shutdown's time was over |
//! | queued | accepted, and not ended: an accepted message ends as sent (with `AtLeastOnce`: as confirmed), evicted or failed |
//!
//! What happens to a connection:
//!
//! | word | meaning |
//! | --- | --- |
//! | lost | it ended, for whatever cause, while the writer was running |
//! | loss | a connection was lost before all messages on it were known to have come to a level: [`Flushed::losses`] |
//! | backoff | the wait between two tries to connect, which grows |
//! | keepalive | empty frames on an idle connection |
//! | linger | how long the writer's thread waits after a write for more messages before it sleeps |
//! | level | how far messages have come: written, read or handled |
//! | flush | to wait until all messages that were accepted before have come to a level |
//! | drain | to send, or to handle, what is still there before the end |
//! | stale | of a socket's file: no process listens on it |
//! | displaced | of a socket's file: removed or replaced while its reader runs |
//! | activation | the reader takes a listening socket that systemd made and passed |
//!
//! # Wire format
//!
//! A connection is a Unix stream socket, or another stream, that carries frames one after the
//! other:
//!
//! ```text
//! frame = length (unsigned LEB128 varint, 1 to 10 bytes)  payload (length bytes)
//! ```
//!
//! The format is that of Protocol Buffers' length-delimited streams, and byte for byte that of the
//! Go library uds-ipc. [The page on the wire](guide::wire) has all of it: empty frames, receipts,
//! refusals and stops. `examples/clients` has clients in Python and in C.
//!
//! # Features
//!
//! | feature | what it brings |
//! | --- | --- |
//! | `systemd`, on by default | the module [`systemd`], and sockets that systemd passes. Without it a reader binds its own socket, and `listenfd` and `sd-notify` are not built |
//! | `serde` | `Serialize` and `Deserialize` for figures, [`Address`], [`Peer`], [`Identity`], [`Credentials`], [`Delivery`], [`FlushLevel`] and [`Overflow`]; `Serialize` for events |
//! | `calls` | the module `calls`: calls and their answers, on a socket of their own, to ask a running daemon or to command it |
//! | `async` | an `AsyncWriter`, a `MessageSink`, batches as a `Stream`, and with `calls` an `AsyncCaller`: for any runtime |
//! | `metrics` | a `Publisher` of the figures for the `metrics` crate |
//! | `tokio-util` | `FrameCodec` as an `Encoder` and a `Decoder` |
//! | `cli` | the command-line tool |
//!
//! # Platforms
//!
//! Linux first; macOS and the BSDs are type-checked only, and differ where the docs of an item say
//! so. There a planned stop can lose a socket's buffer, since those systems discard what is queued
//! when receiving is shut down. Windows is not supported. Rust 1.85 or later: [what may
//! change](guide::stability) from one version to the next.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(all(unix, feature = "systemd"))]
mod activation;
mod address;
mod arena;
mod atomics;
mod backoff;
mod buffer_pool;
mod buffer_size;
#[cfg(feature = "calls")]
pub mod calls;
mod clock;
mod codec;
mod deadline;
mod descriptor_kind;
mod descriptor_store;
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
mod panic_guard;
mod peer;
mod reader;
mod reentry;
#[cfg(all(unix, feature = "systemd"))]
mod runtime_directory;
mod send_error;
mod sys;
mod system_error;
#[cfg(all(unix, feature = "systemd"))]
pub mod systemd;
mod wire;
mod writer;

/// For the fuzz targets only: there in no other build.
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing {
    #[cfg(feature = "calls")]
    pub use crate::calls::fuzzing::{read_calls, read_replies};
    pub use crate::reader::fuzzing::decode;
    pub use crate::writer::fuzzing::take_receipts;
}

pub use address::Address;
pub use codec::FrameCodec;
#[cfg(unix)]
pub use listen::{create_socket_dir, remove_stale_socket};
pub use message::IntoMessage;
pub use outcome::Outcome;
pub use peer::{Credentials, Identity, Peer};
pub use reader::{
    Batch, Batches, BatchesIntoIter, BoundReader, Handler, Reader, ReaderBuilder, ReaderReport,
    Recover,
};
#[cfg(feature = "async")]
pub use send_error::SinkError;
pub use send_error::{EncodeError, SendError};
#[cfg(feature = "async")]
pub use writer::{AsyncWriter, MessageSink};
pub use writer::{
    Connector, Delivery, DropNotice, FlushLevel, Flushed, Lines, Overflow, ShutdownGuard, Writer,
    WriterBuilder, WriterReport,
};

/// The README's programs run as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
enum Readme {}
