//! From ZeroMQ or nng: what is called what here, and what is not the same.
//!
//! A writer and a reader are what PUSH and PULL are over `ipc://`, with many pushers and one
//! puller. For other patterns, for many receivers of one message and for many machines those
//! libraries are the better choice. What is said of them is of the manuals of libzmq 4.3.4 and of
//! nng 1.4, which the Rust crate `nng` 1.0 has.
//!
//! # The same program
//!
//! A pusher and a puller, as with `zmq_connect`, `zmq_send`, `zmq_bind` and `zmq_recv`:
//!
//! ```
//! use std::time::Duration;
//! use uds_ipc::{Reader, Writer};
//!
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("feed.sock");
//! // PULL: a loop that takes what comes, in batches.
//! let (reader, batches) = Reader::builder(&path).bind()?.start_batches()?;
//! let puller = std::thread::spawn(move || {
//!     let mut bytes = 0;
//!     for batch in batches {
//!         for message in batch.messages() {
//!             bytes += message.len();
//!         }
//!         batch.done();
//!     }
//!     bytes
//! });
//!
//! // PUSH: one writer for all threads of the process. It may start before the puller.
//! let writer = Writer::start(&path)?;
//! for number in 0..1_000 {
//!     // As `zmq_send` with a timeout. `try_send` is that with `ZMQ_DONTWAIT`.
//!     writer.send_timeout(format!("part {number}"), Duration::from_secs(5))?;
//! }
//!
//! // As `ZMQ_LINGER` and `zmq_ctx_term`: what is left after five seconds is in the report.
//! assert_eq!(writer.shutdown(Duration::from_secs(5))?.left.messages, 0);
//! let _ = reader.shutdown(Duration::from_secs(5))?;
//! # let expected: usize = (0..1_000).map(|number| format!("part {number}").len()).sum();
//! # assert_eq!(puller.join().unwrap(), expected);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A function for each message does without a loop and a thread:
//! [`start`](crate::BoundReader::start).
//!
//! # What is called what
//!
//! | ZeroMQ | nng | here |
//! | --- | --- | --- |
//! | a context | | none: each writer and each reader has its threads |
//! | `ZMQ_PUSH`, `zmq_connect` | `nng_push0_open`, `nng_dial` | [`Writer::start(path)`](crate::Writer::start) |
//! | `ZMQ_PULL`, `zmq_bind` | `nng_pull0_open`, `nng_listen` | [`Reader::builder(path).bind()`](crate::ReaderBuilder::bind), then one of its starts |
//! | `ipc:///run/a.sock`, `tcp://127.0.0.1:7000` | likewise | `/run/a.sock`, `tcp:127.0.0.1:7000`: [addresses](super::settings#addresses) |
//! | `zmq_send`, which waits | `nng_send`, which waits | [`send_timeout`](crate::Writer::send_timeout) |
//! | `ZMQ_DONTWAIT`, `EAGAIN` | `NNG_FLAG_NONBLOCK`, `NNG_EAGAIN` | [`try_send`](crate::Writer::try_send), [`SendError::Full`](crate::SendError::Full) with the message in it |
//! | `ZMQ_SNDHWM` (1,000 messages for each peer) | `NNG_OPT_SENDBUF` (0 messages, at most 8,192) | [`max_queued_messages`](crate::WriterBuilder::max_queued_messages) (10,000), [`max_queued_bytes`](crate::WriterBuilder::max_queued_bytes) (64 MiB) |
//! | `ZMQ_CONFLATE`: only the last message | | [`DropOldest`](crate::Overflow::DropOldest) with a short queue: [gauges](super::cookbook#gauges-the-newest-is-worth-most) |
//! | `ZMQ_LINGER` (for ever) | | [`shutdown(timeout)`](crate::Writer::shutdown), whose report says what was left |
//! | `ZMQ_RECONNECT_IVL` (100 ms), `_MAX` | `NNG_OPT_RECONNMINT`, `NNG_OPT_RECONNMAXT` | [`backoff_min`](crate::WriterBuilder::backoff_min) (10 ms), [`backoff_max`](crate::WriterBuilder::backoff_max) (1 s) |
//! | `ZMQ_MAXMSGSIZE` (none) | `NNG_OPT_RECVMAXSZ` | `max_message_len` (10 MiB), at both ends |
//! | `zmq_socket_monitor` | `nng_pipe_notify` | `on_event`, at both ends |
//! | multipart messages | | one message: write the parts with [`try_send_with`](crate::Writer::try_send_with) |
//! | ZAP, CURVE | TLS | the socket's mode and the peer's user: [sockets](super::sockets); over TCP [a tunnel](super::streams#tcp) |
//! | | `NNG_OPT_PEER_UID` | [`Peer`](crate::Peer), and [`peer_check`](crate::ReaderBuilder::peer_check) |
//! | PUB, SUB, REQ, REP, ROUTER, DEALER, PAIR | pub, sub, req, rep, bus, survey, pair | no counterpart in a writer and a reader, which go one way |
//!
//! # What is not the same
//!
//! * **A send never waits unless told to**, also while nobody listens: the queue holds messages
//!   until the first reader is there. (A `ZMQ_PUSH` socket that connects queues up to its
//!   high-water mark likewise, and then waits.)
//! * **The bound is also in bytes**, and it is the one that is set. libzmq says of its own that the
//!   limit "may be as much as 90% lower".
//! * **A writer is shared between threads**, by reference or as a clone. A ZeroMQ socket is not
//!   thread safe.
//! * **Messages are acknowledged where you ask for it**: [`AtLeastOnce`](super::delivery), or
//!   [`flush`](crate::Writer::flush). PUSH has no such thing in either library; nng's manual
//!   recommends the request protocol instead.
//! * **One reader.** Messages are not spread over several; the connection of a reader that dies is
//!   made anew with the next one at the path.
//! * **A path that is in use is an error.** ZeroMQ's `ipc://` overrides the binding of a process
//!   that listens.
//! * **The wire** is a length and the bytes, as Protocol Buffers delimit messages: no greeting, no
//!   version. Neither library can read it; [whatever reads bytes](super::wire) can.
