//! What is promised of messages: at most once, in order, and nothing lost that could be kept.
//!
//! # The rules
//!
//! * A message is *accepted* when `try_send` says so, *sent* when the kernel has taken its last byte, *received* when the handler
//!   was called with it. [`WriterMetrics`](crate::WriterMetrics) and [`ReaderMetrics`](crate::ReaderMetrics) count each.
//! * What was not sent is kept, and goes out on the next connection from the start of its frame. What was sent is never
//!   sent again. So nothing arrives twice, and no half message is ever completed by other bytes.
//! * Messages of one thread arrive in order, as long as they travel on one connection. After a write timeout the reader may
//!   handle the rest of the old connection beside the new one.
//!
//! # What can be lost
//!
//! | event | lost |
//! | --- | --- |
//! | the reader is stopped with [`shutdown`](crate::Reader::shutdown) | nothing (Linux); elsewhere up to a socket buffer of a writer that is sending |
//! | the reader closes a connection for its silence | nothing, likewise |
//! | the reader is away | nothing, until the queue is full |
//! | the reader is killed, or crashes | what lay in its socket's buffer, and what it had read and not handled |
//! | the reader hangs, and reads nothing | nothing, until the queue is full |
//! | the writer is stopped with [`shutdown`](crate::Writer::shutdown) | nothing, if it ends in time: the report says what was left |
//! | the writer's process is killed | what it had not sent; a half message is discarded |
//! | the reader hangs up on a peer that broke the rules: a message too long, a frame too slow, no memory for it | what lay in its socket's buffer |
//! | three connections in a row end in the middle of one message | that message |
//!
//! The socket's buffer is the price of speed: with the default `send_buffer_size` of 212,992, which Linux doubles, it holds up to 425,984 bytes, and because messages are written in
//! blocks they fill nearly all of it. With 256 KiB that was measured as 23,824 messages of 20 bytes, 2,592 of 200 or 128 of 4 KiB. A smaller
//! [`send_buffer_size`](crate::WriterBuilder::send_buffer_size) loses fewer and costs throughput. On Linux the writer notices when a
//! peer has died with bytes unread: [`Lost`](crate::WriterEvent::Lost) says `unread`, and `lost_with_unread` counts it.
//!
//! # Keeping more
//!
//! The queue is what bridges an outage: 10,000 messages and 64 MiB unless set, whichever is reached first. At 1,000 messages a second that is ten seconds.
//!
//! ```
//! use std::time::Duration;
//! use uds_ipc::Writer;
//!
//! // Ten minutes of 500 messages a second.
//! let writer = Writer::builder("/tmp/nobody-is-there.sock")
//!     .queue_capacity(300_000)
//!     .queue_size(256 * 1024 * 1024)
//!     .start()?;
//! for number in 0..20_000 {
//!     writer.try_send(format!("event {number}"))?;
//! }
//! assert_eq!(writer.metrics().queued.messages, 20_000);
//!
//! // What was left in the end is in the report, and in the books.
//! let report = writer.shutdown(Duration::ZERO)?;
//! assert_eq!(report.left.messages, 20_000);
//! assert_eq!(report.metrics.failed.left, report.left);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Where the newest matters more than the oldest, [`Overflow::DropOldest`](crate::Overflow::DropOldest) makes room by dropping from the front.
//!
//! # Ends
//!
//! Shut the writer down before the process exits, and look at the report. A writer that is only dropped sends for up to a second what it can. A process that is killed, or calls
//! `exit`, drops nothing: what is queued is gone.
//!
//! A daemon that forks must start its writers and readers afterwards: a child has the object, but not the thread. In the child a drop does nothing, and
//! messages only fill the queue.
