//! In production: where a writer lives, what a process and a container do to it, how large its
//! queue should be, and what to watch.
//!
//! # A writer for the whole program
//!
//! Whatever lies in a `static`, or in a global subscriber or logger, is never dropped. So no drop
//! sends what is queued when `main` returns: what is left then is lost with the process. Keep a
//! clone, and shut the writer down at the end:
//!
//! ```
//! use std::sync::OnceLock;
//! use std::time::Duration;
//! use uds_ipc::Writer;
//!
//! static TELEMETRY: OnceLock<Writer> = OnceLock::new();
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     # let directory = tempfile::tempdir()?;
//!     # let path = directory.path().join("telemetry.sock");
//!     # let reader = uds_ipc::Reader::builder(&path).bind()?.start(|_| ())?;
//!     let writer = TELEMETRY.get_or_init(|| Writer::start(&path).expect("a valid address"));
//!     // Sends what is queued, however `main` ends: by a return, by `?`, or by a panic.
//!     let _guard = writer.shutdown_guard(Duration::from_secs(2));
//!     writer.try_send("started")?;
//!     Ok(())
//! }
//! ```
//!
//! SIGTERM ends a process without a drop too: catch it, and let `main` return, with
//! `signal_hook::iterator::Signals` or `tokio::signal` as the examples `collector` and `ecosystem`
//! do. `std::process::exit`, `abort`, a fatal signal and `panic = "abort"` run no drop: before such
//! an end call [`shutdown`](crate::Writer::shutdown), or [`flush`](crate::Writer::flush) where the
//! program may go on. An owned [`Reader`](crate::Reader) or
//! [`Service`](crate::systemd::Service) in a `static` needs the same.
//!
//! # Processes
//!
//! * **Start after the fork.** A child made by `fork` has neither the writer's thread nor the
//!   reader's. There each call returns at once with an error that says so, and a drop does nothing.
//!   A daemon that forks into the background starts its writers and readers after that; a pool of
//!   worker processes starts them in each worker. (The C library tells the crate of a `fork`. A
//!   child that is made without that, by `_Fork` or the system call `clone`, is known to all calls
//!   but the sends. The standard library holds a lock while a thread begins: a child that is made
//!   at that moment can start no thread itself.)
//! * **A child that lives on without `exec`** holds copies of the descriptors. A reader that is
//!   killed then still looks alive: the child keeps its listening socket open, and writers wait in
//!   its backlog. All descriptors are closed by `exec`.
//! * **Signals** are for the program's own threads: those of the crate block all but the ones that
//!   a fault raises. It does not matter whether a signal is blocked before or after the start. A
//!   process that a handler or an observer starts inherits what its thread blocks, also through
//!   [`std::process::Command`], and could not be ended by SIGTERM then: start it from a thread of
//!   your own.
//! * **Standard streams** may be closed: no descriptor of the crate keeps one of their numbers, so
//!   that what is printed does not end up in a stream. Where one is free it is given to
//!   `/dev/null`, as Rust's runtime does when a program starts. (Close them before the start of
//!   writers and readers: a connection that is accepted at the moment after has such a number for
//!   some microseconds.)
//!
//! # Containers
//!
//! * **Mount the folder of the socket, not its file.** A mount of the file holds on to the file
//!   that was there at that moment. A reader that starts again makes another, and the container
//!   goes on to write to the old one. With [socket activation](crate::guide::systemd) the file
//!   stays the same, and may be mounted.
//! * **Users in a user namespace** that the reader's side does not know are 65534 (`nobody`) there,
//!   all of them: a [`peer_check`](crate::ReaderBuilder::peer_check) cannot tell them apart, and
//!   [`max_connections_per_user`](crate::ReaderBuilder::max_connections_per_user) counts them
//!   together.
//! * **`/proc` is not needed.** Without it the mode of a socket is set by its path, which is only
//!   done in a directory where nobody else can put another file in its place. On a file system that
//!   changes no modes (shared folders of virtual machines) ask with
//!   [`socket_mode`](crate::ReaderBuilder::socket_mode) for the mode that files have there.
//! * **`inotify(7)` instances** are 128 for each user, unless `fs.inotify.max_user_instances` says
//!   otherwise, containers of the same user together. A process takes one for all its readers,
//!   which notice by it that their files are gone; without one they look every five seconds. A
//!   writer takes one while it has waited for a reader for about a tenth of a second and longer;
//!   without one it connects when its backoff is over. Where more writers than that may wait for a
//!   collector, raise the limit. (The files and directories that are watched count against
//!   `fs.inotify.max_user_watches`, a dozen for a reader, one for a writer.)
//!
//! # In async code
//!
//! | call | in an async task |
//! | --- | --- |
//! | [`try_send`](crate::Writer::try_send), [`try_send_with`](crate::Writer::try_send_with), [`metrics`](crate::Writer::metrics), [`is_connected`](crate::Writer::is_connected) | as it is: never blocks |
//! | [`Writer::start`](crate::Writer::start), [`bind`](crate::ReaderBuilder::bind), `start` of a reader | at the start of the program: system calls, which take less than a millisecond, and up to two seconds where several start at the same path |
//! | `try_send` and `start` of a writer that is [`crash_proof`](super::crash_proof) | as they are: the first message on a connection waits some 50 µs, at most 10 ms, for the writer's own thread; `start` for a first try to connect, at most 100 ms; with a `descriptor_store` also for systemd, which takes microseconds, and at most a few seconds where that hangs |
//! | [`send_timeout`](crate::Writer::send_timeout), [`flush`](crate::Writer::flush), `shutdown` of either end, the drop of the last clone of a writer | blocks: with the feature `async` an `AsyncWriter` awaits them, for any runtime, and a `MessageSink` takes what comes as a stream; else in `spawn_blocking` |
//! | with `calls`: `call`, `call_many` and its iterator, `notify` and `call_batch` of a `Caller` | block: an `AsyncCaller` awaits them, for any runtime |
//! | `shutdown` and drop of a `Responder`; an answer of a `Reply` whose peer does not read | block: in `spawn_blocking` |
//!
//! [`AsyncWriter::writer`](crate::Writer) gives the writer itself, with all that never blocks. A
//! reader's handler is called on a thread of the reader's, never in a task. To receive in a task,
//! take [batches](crate::BoundReader::start_batches), which are a `Stream` for any runtime. A whole
//! program on tokio, with
//!
//! ```toml
//! uds-ipc = { version = "0.1", features = ["async"] }
//! tokio = { version = "1", features = ["macros", "rt-multi-thread", "time"] }
//! futures-util = "0.3"
//! ```
//!
//! ```
//! # #[cfg(feature = "async")] mod program {
//! use std::time::Duration;
//!
//! use futures_util::StreamExt;
//! use uds_ipc::{AsyncWriter, Batch, Delivery, FlushLevel, Reader, Writer};
//!
//! const PATIENCE: Duration = Duration::from_secs(5);
//!
//! /// Stores a batch somewhere, and confirms it.
//! async fn store(batch: Batch) {
//!     for message in batch.messages() {
//!         println!("{}", String::from_utf8_lossy(message));
//!     }
//!     tokio::time::sleep(Duration::from_millis(1)).await;
//!     batch.done();
//! }
//!
//! #[tokio::main]
//! pub async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let path = std::env::temp_dir().join(format!("tokio-{}.sock", std::process::id()));
//!     let (reader, mut batches) = Reader::builder(&path).bind()?.start_batches()?;
//!     let collector = tokio::spawn(async move {
//!         while let Some(batch) = batches.next().await {
//!             // Each in a task of its own: they may be confirmed in any order.
//!             tokio::spawn(store(batch));
//!         }
//!     });
//!
//!     let writer = Writer::builder(&path).delivery(Delivery::AtLeastOnce);
//!     let writer = AsyncWriter::from(writer.start()?);
//!     for number in 0..100 {
//!         // Waits for room in the queue, as long as it takes.
//!         writer.send(format!("message {number}")).await?;
//!     }
//!     writer.flush(FlushLevel::Handled).await?;
//!     println!("{}", writer.writer().metrics());
//!     writer.shutdown(PATIENCE).await?;
//!
//!     // It waits for the batches that are out, so the tasks must go on.
//!     tokio::task::spawn_blocking(move || reader.shutdown(PATIENCE)).await??;
//!     collector.await?;
//!     Ok(())
//! }
//! # }
//! # #[cfg(feature = "async")] program::main().unwrap();
//! ```
//!
//! * Receipts cover what is confirmed without a gap: a batch that is confirmed before an older one
//!   of its connection waits for that.
//! * A connection with eight batches out, or 1 MiB, is not read on, and no connection is while 64
//!   MiB are out. So memory is bounded, and a slow receiver is felt by the senders.
//! * So never wait for a further batch before one is confirmed: it may not come. With `AtLeastOnce`
//!   what is out also takes room in the writer's queue.
//! * A batch that is dropped comes again, and so does what is behind it on its connection:
//!   [`Batch`](crate::Batch) says how.
//!
//! # How large a queue
//!
//! The queue bridges the time in which no reader takes anything: a restart takes a second, a reboot
//! of the collector's container perhaps thirty.
//!
//! ```text
//! max_queued_messages = messages a second at the busiest × seconds to bridge
//! max_queued_bytes    = max_queued_messages × bytes of a message
//! ```
//!
//! Unless set that is 10,000 messages and 64 MiB: 10 s at 1,000 a second. Memory is taken only as
//! messages wait. With `AtLeastOnce` messages stay in the queue until they are confirmed: add the
//! longest time that the handler takes for a batch. When the queue is full the newest messages are
//! refused, or with [`DropOldest`](crate::Overflow::DropOldest) the oldest make room.
//!
//! # What to watch
//!
//! Of the [figures](crate::metrics) these are worth an alarm:
//!
//! | figure | when | what it means |
//! | --- | --- | --- |
//! | writer, `dropped.total()` | it grows | messages were refused or evicted: the queue is too small, or the reader too slow |
//! | writer, `failed.total()` | it grows | accepted messages were lost: at a shutdown, or because the reader refuses them |
//! | writer, `lost_with_unread` | it grows | with `AtMostOnce`: a reader died, and up to a socket buffer of messages with it |
//! | writer, `queued` | above half of its bound for a minute | the reader is too slow, or gone |
//! | writer, `connected` | false for longer than a restart takes | nobody listens |
//! | reader, `handler_errors`, `panics` | they grow | messages are not stored |
//! | reader, `accept_pauses` | it grows | the process is short of descriptors: raise `LimitNOFILE=` |
//! | reader, `protocol_errors.total()`, `refused_peers` | they grow | something speaks another protocol, has a higher limit, or may not connect |
//!
//! On Prometheus a figure begins with `uds_ipc_writer_` or `uds_ipc_reader_`: `dropped` is
//! `dropped_messages_total` with the reasons `queue_full`, `too_large`, `empty`, `already_shutdown`
//! (`closed`) and `oldest`, `failed` is `failed_messages_total`, `queued` is `queue_messages`
//! beside `queue_capacity_messages`, `open` is `open_connections`; other counters have their own
//! name and `_total`. `examples/prometheus/alerts.yml` has these alarms.
//!
//! Of the [events](crate::event) log those with a
//! [`severity`](crate::event::Severity) of `Warning` or more. The others come often: a reader
//! closes a connection that is silent for ten seconds, so that fifty quiet daemons make some
//! 860,000 events a day on its side.
//!
//! # A health check
//!
//! A process is alive, and the way to the collector works, when a message comes through:
//!
//! ```
//! use std::time::Duration;
//! use uds_ipc::{FlushLevel, Writer};
//!
//! /// For the watchdog, or for a probe of the container's.
//! fn is_healthy(writer: &Writer) -> bool {
//!     writer.try_send("health check").is_ok()
//!         && writer.flush(FlushLevel::Handled, Duration::from_secs(1)).is_ok()
//! }
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("telemetry.sock");
//! # let reader = uds_ipc::Reader::builder(&path).bind()?.start(|_| ())?;
//! # assert!(is_healthy(&Writer::start(&path)?));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! To ask a collector from outside whether it lives: `uds-ipc check ADDRESS` sees that it accepts
//! and reads, who it is, and leaves no message behind. It is not enough that connecting succeeds:
//! the kernel accepts connections for a process that hangs. Whether the handler gets on as well
//! only a message tells, sent as any other daemon would: `uds-ipc send ADDRESS health
//! --at-least-once --connect-timeout 1 --timeout 1`. As a service a collector tells systemd's
//! watchdog by itself, as long as its threads get on: see [the
//! page on systemd](crate::guide::systemd).
