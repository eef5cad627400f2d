//! From tracing-appender: what is called what here, and what is not the same.
//!
//! `tracing_appender::non_blocking` moves the writing of a program's own log to a thread. A
//! [`Writer`](crate::Writer) moves it to a collector: another process, which has the files, and
//! rotates, ships or filters them for all daemons. A daemon whose log is its own file, and of which
//! nobody else wants to know, is well served by tracing-appender. What is said of it here is of
//! version 0.2.5.
//!
//! # The same program
//!
//! Before:
//!
//! ```no_run
//! let file = tracing_appender::rolling::daily("/var/log", "app");
//! let (lines, _guard) = tracing_appender::non_blocking(file);
//! tracing_subscriber::fmt().with_writer(lines).init();
//! ```
//!
//! After:
//!
//! ```
//! use std::time::Duration;
//! use uds_ipc::Writer;
//!
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("log.sock");
//! # let (sender, received) = std::sync::mpsc::channel();
//! # let reader = uds_ipc::Reader::builder(&path).bind()?.start(move |line| {
//! #     let _ = sender.send(String::from_utf8_lossy(line).into_owned());
//! # })?;
//! // As many lines as before; at the default of 64 MiB, lines of 500 bytes would be the limit.
//! let writer = Writer::builder(&path).max_queued_messages(128_000).start()?;
//! let _guard = writer.shutdown_guard(Duration::from_secs(1));
//! let lines = writer.clone();
//! tracing_subscriber::fmt().with_ansi(false).with_writer(move || lines.lines()).init();
//! tracing::info!("started");
//! # drop(_guard);
//! # assert!(received.recv_timeout(Duration::from_secs(5))?.ends_with("started"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The collector is the program of [the front page](crate#in-two-minutes), with the `Log` of [the
//! cookbook](super::cookbook#rotation-at-the-collector) where it is to rotate.
//!
//! # What is called what
//!
//! | tracing-appender | here |
//! | --- | --- |
//! | `non_blocking(writer)` | [`Writer::start(path)`](crate::Writer::start); what writes is the collector |
//! | `NonBlocking` as a `MakeWriter` | [`writer.lines()`](crate::Writer::lines) in a closure; for records of several lines the writer itself |
//! | `WorkerGuard`: 100 ms for room, 1 s for the rest | [`shutdown_guard(timeout)`](crate::Writer::shutdown_guard); also [`flush_on_panic`](crate::Writer::flush_on_panic) |
//! | `buffered_lines_limit` (128,000 lines) | [`max_queued_messages`](crate::WriterBuilder::max_queued_messages) (10,000) and [`max_queued_bytes`](crate::WriterBuilder::max_queued_bytes) (64 MiB) |
//! | `lossy(true)`, the default | the default |
//! | `lossy(false)` | a writer that waits: [below](#a-writer-that-waits) |
//! | `error_counter().dropped_lines()` | [`metrics().dropped`](crate::metrics::WriterMetrics), by reason, in messages and in bytes |
//! | `thread_name` | [`thread_name`](crate::WriterBuilder::thread_name) |
//! | `rolling::daily`, `max_log_files` and the rest | the collector's: [the cookbook](super::cookbook#rotation-at-the-collector) has one by size |
//!
//! # A writer that waits
//!
//! A log call that waits for room holds up the program while the collector is away. Where no line
//! may be missing and the program can wait, give it a bound:
//!
//! ```
//! use std::io;
//! use std::time::Duration;
//! use uds_ipc::Writer;
//!
//! /// One record, one message; waits up to a second for room.
//! struct Patient(Writer);
//!
//! impl io::Write for Patient {
//!     fn write(&mut self, record: &[u8]) -> io::Result<usize> {
//!         let line = record.strip_suffix(b"\n").unwrap_or(record);
//!         // What is refused after that is counted in `metrics().dropped`. An error here would be
//!         // printed by the subscriber, for each line.
//!         let _ = self.0.send_timeout(line, Duration::from_secs(1));
//!         Ok(record.len())
//!     }
//!
//!     fn flush(&mut self) -> io::Result<()> {
//!         Ok(())
//!     }
//! }
//!
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("log.sock");
//! # let reader = uds_ipc::Reader::builder(&path).bind()?.start(|_| ())?;
//! // A queue that ten lines fill: a hundred pass all the same.
//! let writer = Writer::builder(&path).max_queued_messages(10).start()?;
//! let patient = writer.clone();
//! let subscriber =
//!     tracing_subscriber::fmt().with_writer(move || Patient(patient.clone())).finish();
//! tracing::subscriber::with_default(subscriber, || {
//!     for number in 0..100 {
//!         tracing::info!(number);
//!     }
//! });
//! let report = writer.shutdown(Duration::from_secs(5))?;
//! assert_eq!(report.metrics.sent.messages, 100);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Both at once
//!
//! To keep the file while the collector is tried out, `and` of tracing-subscriber's
//! `MakeWriterExt` writes each record to both:
//!
//! ```
//! use tracing_subscriber::fmt::writer::MakeWriterExt;
//! use uds_ipc::Writer;
//!
//! # let directory = tempfile::tempdir()?;
//! # let log = directory.path().join("app.log");
//! let file = std::fs::File::create(&log)?; // or tracing_appender::non_blocking(…)
//! let writer = Writer::start(directory.path().join("log.sock"))?;
//! let lines = writer.clone();
//! let both = std::sync::Mutex::new(file).and(move || lines.lines());
//! let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(both).finish();
//! tracing::subscriber::with_default(subscriber, || tracing::info!("started"));
//! assert!(std::fs::read_to_string(&log)?.ends_with("started\n"));
//! assert_eq!(writer.metrics().accepted.messages, 1);
//! # let _ = writer.shutdown(std::time::Duration::ZERO)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is not the same
//!
//! * **The file is not there when the collector is not.** Lines wait in the queue meanwhile, up to
//!   its bounds. With [`crash_proof`](super::crash_proof) they outlive the program; with
//!   [`AtLeastOnce`](super::delivery) a collector may be killed.
//! * **What goes wrong is told**: an event for each change, and figures that add up.
//!   tracing-appender says nothing of a write that failed.
//! * **A stop goes past the queue**, and ends at its timeout. There it has to find room in the
//!   queue first.
//! * **Lines of different threads have no order among each other**: a line's own time says which
//!   was first. There they are in the order in which they came into the queue.
//! * **`flush` of the `io::Write` does nothing**, in both. [`Writer::flush`](crate::Writer::flush)
//!   waits until the lines are written, read or handled.
