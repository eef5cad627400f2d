//! From the Go library uds-ipc: what is called what here, and what is not the same.
//!
//! The wire is the same in both directions, so that either end can be replaced first; [the page on
//! the wire](super::wire) has every byte of it. `examples/clients/go` uses the original with this
//! crate.
//!
//! # What works with what
//!
//! | sender | receiver | |
//! | --- | --- | --- |
//! | Go | this crate | yes. It never asks for a receipt, and so delivers at most once |
//! | this crate, [`AtMostOnce`](crate::Delivery::AtMostOnce) | Go | yes. A [`keepalive`](crate::WriterBuilder::keepalive) does no harm: empty frames are passed over |
//! | this crate, [`AtLeastOnce`](crate::Delivery::AtLeastOnce), or [`FlushLevel::Handled`](crate::FlushLevel::Handled) | Go | no: these need receipts, and none come. The event is [`NoReceipt`](crate::event::WriterEvent::NoReceipt) |
//!
//! # The same program
//!
//! ```
//! use std::time::Duration;
//! use uds_ipc::{Reader, Writer};
//!
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("telemetry.sock");
//! // NewReader(handler, path), Start()
//! let reader = Reader::builder(&path).bind()?.start(|message| {
//!     println!("{}", String::from_utf8_lossy(message));
//! })?;
//!
//! // NewWriter(path), Start(), WriteMessage(data)
//! let writer = Writer::start(&path)?;
//! writer.try_send(b"requests:17|c")?;
//!
//! // Stop(ctx), of each
//! assert_eq!(writer.shutdown(Duration::from_secs(5))?.left.messages, 0);
//! assert_eq!(reader.shutdown(Duration::from_secs(5))?.metrics.received.messages, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is called what
//!
//! | Go | here |
//! | --- | --- |
//! | `NewWriter(path, opts...)`, `Start()` | `Writer::start(path)?`, or `Writer::builder(path)….start()?` |
//! | `WriteMessage(data)` | `try_send(&data)`, which copies; or `try_send(data)`, which hands over |
//! | `ErrBufferFull` | `SendError::Full` |
//! | `Writer.Stop(ctx)` | `shutdown(timeout)?`, whose report says what was left |
//! | `Writer.GetMetrics()` | `metrics()`: `sent`, `dropped.total()`, `failed.total()`, `queued`, and more |
//! | `GetSocketPath()` | `address()` |
//! | `WithMaxBufferedWrites` (10,000) | `max_queued_messages` (the same), and `max_queued_bytes` |
//! | `WithWriteTimeout`, `WithDialTimeout` (1 s) | `write_timeout`, `connect_timeout` (the same) |
//! | `WithMaxBackoff` (10 s) | `backoff_max` (1 s), and `backoff_min` |
//! | `WithWriteBufferSize`, `WithReadBufferSize` (256 KiB) | `send_buffer_size` (212,992), `recv_buffer_size` (the system's) |
//! | `WithWriterErrorCallback`, `WithReaderErrorCallback` | `on_event`, with typed events |
//! | `NewReader(handler, path, opts...)`, `Start()` | `Reader::builder(path).bind()?.start(handler)?` |
//! | `MessageHandler` | any `Fn(&[u8])` that returns nothing or a `Result<(), E>`, or a `Handler` |
//! | `Reader.Stop(ctx)` | `shutdown(timeout)?`, which handles what was sent |
//! | `Reader.GetMetrics()` | `metrics()`: `received`, `connections`, `handler_errors`, `protocol_errors`, and more |
//! | `WithMaxMessageSize` (10 MiB) | `max_message_len` (the same), at both ends |
//! | `WithInactivityTimeout` (10 s) | `idle_timeout` (the same) |
//! | `WithMaxAcceptErrors` | gone: accepting pauses and goes on |
//! | `MaxSocketPathLength()` | `Address::MAX_LEN` |
//! | `ResolveSocketPath(systemd, path)` | `systemd::runtime_path(name).unwrap_or_else(…)`; a path with a directory in it is used as it is |
//! | `EnsureSocketDir(path)` | `create_socket_dir(path)` |
//! | `CleanupSocket(path)` | `remove_stale_socket(path)`: removes a socket only, and only if no process listens on it |
//! | `SystemdManager` | a reader takes systemd's socket (`activation`); `systemd::Service` sends `READY=1` and the rest |
//!
//! # What is not the same
//!
//! * A writer here has its queue sent in pieces of many messages, and sends again what the kernel
//!   did not take whole. Its shutdown connects again where it must, and says what was left.
//! * A reader that stops handles what the kernel still holds.
//! * A path that is given in full is the path that is used, whatever the environment says. A file
//!   that is no socket, or the socket of a reader that lives, is never removed.
//! * The first wait before a new try to connect is 10 ms instead of a second, and there is one
//!   after each loss.
