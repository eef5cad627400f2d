//! Programs for common tasks, to be copied. They are tests of the crate: each is compiled, and all
//! but the one that waits for a signal run.
//!
//! # Many daemons, one collector
//!
//! One path, one reader, and a writer in each daemon. Connections are served at the same time, each
//! in its own order. The kernel says which user and process a connection is of; a name that lasts
//! over reconnections is in the messages themselves, and is the daemon's claim.
//!
//! ```
//! use std::collections::BTreeMap;
//! use std::sync::{Arc, Mutex};
//! use std::time::Duration;
//! use uds_ipc::{Handler, Peer, Reader, Writer};
//!
//! /// How many messages came from each user, and the last one of each daemon.
//! #[derive(Clone, Default)]
//! struct Board(Arc<Mutex<(BTreeMap<Option<u32>, u64>, BTreeMap<String, String>)>>);
//!
//! impl Handler for Board {
//!     type Error = std::convert::Infallible;
//!
//!     fn message(&self, message: &[u8], peer: &Peer) -> Result<(), Self::Error> {
//!         let text = String::from_utf8_lossy(message);
//!         let (daemon, rest) = text.split_once(' ').unwrap_or(("nobody", &text));
//!         let mut board = self.0.lock().unwrap();
//!         *board.0.entry(peer.identity.uid()).or_default() += 1;
//!         board.1.insert(daemon.to_owned(), rest.to_owned());
//!         Ok(())
//!     }
//! }
//!
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("telemetry.sock");
//! let board = Board::default();
//! let reader = Reader::builder(&path)
//!     // Above the number of daemons: at this bound more of them wait. It takes LimitNOFILE=.
//!     .max_connections(4_096)
//!     .bind()?
//!     .start_handler(board.clone())?;
//!
//! // Each of these is a process of its own.
//! let daemons = ["web", "mail", "backup"].map(|name| {
//!     let path = path.clone();
//!     std::thread::spawn(move || {
//!         let writer = Writer::start(&path).unwrap();
//!         for number in 0..100 {
//!             writer.try_send(format!("{name} {number}")).unwrap();
//!         }
//!         writer.shutdown(Duration::from_secs(5)).unwrap()
//!     })
//! });
//! for daemon in daemons {
//!     assert_eq!(daemon.join().unwrap().left.messages, 0);
//! }
//! // Handles all that was sent.
//! let _ = reader.shutdown(Duration::from_secs(5))?;
//! let board = board.0.lock().unwrap();
//! assert_eq!(board.0.values().sum::<u64>(), 300);
//! assert!(board.1.values().all(|last| last == "99"), "{board:?}");
//! # assert_eq!(board.1.len(), 3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! One lock for all is enough while it is held briefly. Where it is not, gather in
//! [`message`](crate::Handler::message) and take the lock in
//! [`batch_end`](crate::Handler::batch_end), as the example `collector` does.
//!
//! # Gauges: the newest is worth most
//!
//! A gauge from ten seconds ago is worth nothing once there is a newer one. A short queue that
//! evicts the oldest keeps the newest while the collector is away, and bounds how old what it then
//! gets can be.
//!
//! ```
//! use std::sync::mpsc;
//! use std::time::Duration;
//! use uds_ipc::{Overflow, Reader, Writer};
//!
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("gauges.sock");
//! let gauges = Writer::builder(&path)
//!     .overflow(Overflow::DropOldest)
//!     .max_queued_messages(100)
//!     .start()?;
//! for value in 1..=1_000 {
//!     // Nobody reads yet. The oldest make room, so that none is refused.
//!     gauges.try_send(format!("temperature:{value}|g"))?;
//! }
//! assert_eq!(gauges.metrics().dropped.oldest.messages, 900);
//!
//! let (sender, received) = mpsc::channel();
//! let reader = Reader::builder(&path).bind()?.start(move |message| {
//!     let _ = sender.send(String::from_utf8_lossy(message).into_owned());
//! })?;
//! let _ = gauges.shutdown(Duration::from_secs(5))?;
//! let _ = reader.shutdown(Duration::from_secs(5))?;
//! let received: Vec<_> = received.iter().collect();
//! assert_eq!(received.first().unwrap(), "temperature:901|g");
//! assert_eq!(received.last().unwrap(), "temperature:1000|g");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Counters are another matter: send how much was counted since the last message only where no
//! message may be lost, otherwise the total, of which the newest says all. A writer of its own for
//! gauges keeps them from evicting what matters more.
//!
//! # Audit events, at least once
//!
//! An event counts when the collector has stored it. The writer keeps it until then, and sends it
//! again where a connection ends before. A handler's error means *not stored*: the message comes
//! again.
//!
//! ```
//! use std::fs::File;
//! use std::io::Write;
//! use std::time::Duration;
//! use uds_ipc::{Batch, Delivery, FlushLevel, Reader, Writer};
//!
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("audit.sock");
//! # let log = directory.path().join("audit.log");
//! // The collector: once this has returned `Ok`, the batch is confirmed.
//! let file = File::options().create(true).append(true).open(&log)?;
//! let reader = Reader::builder(&path)
//!     .on_event(|event| eprintln!("collector: {event}"))
//!     .bind()?
//!     .start_batch_handler(move |batch: &Batch| {
//!         let lines = batch.messages().flat_map(|message| [message, b"\n"]);
//!         (&file).write_all(&lines.collect::<Vec<_>>().concat())?;
//!         file.sync_data()
//!     })?;
//!
//! // A daemon.
//! let writer = Writer::builder(&path)
//!     .delivery(Delivery::AtLeastOnce)
//!     .on_event(|event| eprintln!("daemon: {event}"))
//!     .start()?;
//! // An audit event is worth a wait: for room, while the collector is away for long.
//! writer.send_timeout("a user logged in", Duration::from_secs(5))?;
//! // What must not go on before it is stored waits here.
//! writer.flush(FlushLevel::Handled, Duration::from_secs(5))?;
//! assert_eq!(writer.metrics().confirmed.messages, 1);
//! # assert_eq!(std::fs::read_to_string(&log)?, "a user logged in\n");
//!
//! let _ = writer.shutdown(Duration::from_secs(5))?;
//! let _ = reader.shutdown(Duration::from_secs(5))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A message may come twice; a killed process, or a full disk, may leave half a line in this file.
//! [The page on delivery](super::delivery) has a store for lines that copes with both, and one for
//! numbered messages that keeps each of them once. The queue is in the daemon's memory: with
//! [`crash_proof`](super::crash_proof) it outlives the daemon. Nothing here is on the daemon's
//! disk, so that a loss of power costs what was not confirmed.
//!
//! # A collector behind systemd
//!
//! systemd holds the socket, starts the collector with the first message, and starts it again when
//! it hangs. The units are in `examples/systemd`, and [the page on systemd](super::systemd) takes
//! five minutes. The program is the same without systemd: then it makes the socket itself.
//!
//! ```no_run
//! # #[cfg(all(unix, feature = "systemd"))]
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     use signal_hook::consts::{SIGINT, SIGTERM};
//!     use signal_hook::iterator::Signals;
//!     use std::time::Duration;
//!     use uds_ipc::Reader;
//!     use uds_ipc::systemd::Service;
//!
//!     // Before the socket is there: whoever sees it may signal us.
//!     let mut signals = Signals::new([SIGTERM, SIGINT])?;
//!     let reader = Reader::builder("/run/collector/telemetry.sock")
//!         .on_event(|event| eprintln!("{event}"))
//!         .bind()?
//!         .start(|message| println!("{}", String::from_utf8_lossy(message)))?;
//!     // `READY=1` now, and from now on `STATUS=` and `WATCHDOG=1`.
//!     let service = Service::start([reader]);
//!     signals.forever().next();
//!     // Handles all that was sent. Writers keep what comes now for the next process.
//!     service.shutdown(Duration::from_secs(5))?;
//!     Ok(())
//! }
//! # #[cfg(not(all(unix, feature = "systemd")))]
//! # fn main() {}
//! ```
//!
//! # Containers with a shared folder
//!
//! Mount the *folder* of the socket, not its file: a collector that starts again makes another
//! file, which a mount of the first one does not follow. The group of the socket is what lets the
//! containers' users in.
//!
//! ```text
//! host        install --directory --mode 0750 --group telemetry /run/collector
//! container   docker run --volume /run/collector:/run/collector --group-add GID_OF_TELEMETRY ...
//! ```
//!
//! The collector, which may run in a container too:
//!
//! ```
//! use uds_ipc::{Reader, Writer};
//!
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("collector/telemetry.sock");
//! # let telemetry = std::os::unix::fs::MetadataExt::gid(&std::fs::metadata(&directory)?);
//! // Where nothing else has made the folder. One that others may replace things in is refused.
//! uds_ipc::create_socket_dir(&path)?;
//! let reader = Reader::builder(&path)
//!     .socket_mode(0o660)
//!     .socket_group(telemetry)
//!     // So that no container shuts the others out.
//!     .max_connections_per_user(64)
//!     .bind()?
//!     .start(|_| ())?;
//!
//! // In the containers: `expect_peer_uid` sends to this user's collector and to no other.
//! # let uid = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(&directory)?);
//! let writer = Writer::builder(&path).expect_peer_uid(uid).start()?;
//! writer.try_send("from a container")?;
//! # writer.flush(uds_ipc::FlushLevel::Handled, std::time::Duration::from_secs(5))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! In a user namespace uids are others: compare those that the process itself sees. [The page on
//! production](super::production#containers) has the rest: `nobody`, `/proc`, `inotify(7)`.
//!
//! # Rotation at the collector
//!
//! The collector alone has the files, so it alone rotates them, between two batches: no line is
//! split over two files, and no daemon notices.
//!
//! ```
//! use std::fs::{self, File};
//! use std::io::{self, Write};
//! use std::path::{Path, PathBuf};
//! use std::sync::Mutex;
//! use std::time::Duration;
//! use uds_ipc::{Batch, Reader, Writer};
//!
//! /// A log and its older parts: `log`, `log.1`, `log.2`, and so on.
//! struct Log {
//!     path: PathBuf,
//!     file: File,
//!     len: usize,
//!     max_len: usize,
//!     keep: usize,
//! }
//!
//! impl Log {
//!     fn open(path: &Path, max_len: usize, keep: usize) -> io::Result<Self> {
//!         let file = File::options().create(true).append(true).open(path)?;
//!         let len = file.metadata()?.len().try_into().unwrap_or(usize::MAX);
//!         Ok(Self { path: path.to_owned(), file, len, max_len, keep })
//!     }
//!
//!     fn part(&self, number: usize) -> PathBuf {
//!         let mut name = self.path.clone().into_os_string();
//!         name.push(format!(".{number}"));
//!         name.into()
//!     }
//!
//!     fn rotate(&mut self) -> io::Result<()> {
//!         // The oldest is overwritten.
//!         for number in (1..self.keep).rev() {
//!             match fs::rename(self.part(number), self.part(number + 1)) {
//!                 Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
//!                 _ => (),
//!             }
//!         }
//!         fs::rename(&self.path, self.part(1))?;
//!         *self = Self::open(&self.path, self.max_len, self.keep)?;
//!         Ok(())
//!     }
//!
//!     fn append(&mut self, batch: &Batch) -> io::Result<()> {
//!         let lines = batch.messages().flat_map(|message| [message, b"\n"]);
//!         let text = lines.collect::<Vec<_>>().concat();
//!         if self.len > 0 && self.len + text.len() > self.max_len {
//!             self.rotate()?;
//!         }
//!         self.file.write_all(&text)?;
//!         self.len += text.len();
//!         Ok(())
//!     }
//! }
//!
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("log.sock");
//! # let log = directory.path().join("log");
//! let store = Mutex::new(Log::open(&log, 1_000, 3)?);
//! let reader = Reader::builder(&path)
//!     .bind()?
//!     .start_batch_handler(move |batch: &Batch| store.lock().unwrap().append(batch))?;
//!
//! let writer = Writer::start(&path)?;
//! for number in 0..100 {
//!     writer.try_send(format!("line {number} of a log that is cut into parts"))?;
//!     // So that there are many batches.
//!     writer.flush(uds_ipc::FlushLevel::Handled, Duration::from_secs(5))?;
//! }
//! let _ = writer.shutdown(Duration::from_secs(5))?;
//! let _ = reader.shutdown(Duration::from_secs(5))?;
//! for part in ["log", "log.1", "log.2", "log.3"] {
//!     let text = fs::read_to_string(directory.path().join(part))?;
//!     assert!(text.len() <= 1_000 && text.ends_with("parts\n"));
//! }
//! assert!(!directory.path().join("log.4").exists());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! One batch that is longer than `max_len` makes a longer file. With `AtLeastOnce` sync the file
//! and its folder before the handler returns, as [the page on delivery](super::delivery) does. With
//! `logrotate` open the file anew on SIGHUP, under the same lock.
//!
//! # Sampling
//!
//! What is thrown away is best thrown away before it is sent. By a hash of what belongs together,
//! such as a trace, all of it is kept or none of it, in every daemon alike; the rate stands in the
//! message, so that the collector can multiply.
//!
//! ```
//! use uds_ipc::Writer;
//!
//! const ONE_IN: u64 = 10;
//!
//! /// Whether the spans of this trace are sent: the same answer in every daemon.
//! fn is_kept(trace: u64) -> bool {
//!     // SplitMix64's last steps: neighbouring numbers fall far apart.
//!     let mut hash = trace.wrapping_add(0x9e37_79b9_7f4a_7c15);
//!     hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
//!     hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
//!     (hash ^ (hash >> 31)) % ONE_IN == 0
//! }
//!
//! # let directory = tempfile::tempdir()?;
//! let writer = Writer::builder(directory.path().join("traces.sock"))
//!     .max_queued_messages(100_000)
//!     .start()?;
//! for trace in (0..10_000).filter(|trace| is_kept(*trace)) {
//!     for span in ["request", "query", "answer"] {
//!         writer.try_send(format!("{trace} {span} one_in={ONE_IN}"))?;
//!     }
//! }
//! let sent = writer.metrics().accepted.messages;
//! assert!(sent % 3 == 0 && (2_700..3_300).contains(&sent), "{sent}");
//! # let _ = writer.shutdown(std::time::Duration::ZERO)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Where the load alone decides, [`shed_at`](crate::Writer::shed_at) lets details give way once the
//! queue is filled to a share, and [`drop_notice`](crate::WriterBuilder::drop_notice) tells the
//! collector how much is missing: [the page on log libraries](super::ecosystem#logs) has both.
//!
//! # Sizes
//!
//! A queue bridges the time in which nobody reads. It costs memory only while messages wait.
//!
//! ```
//! use std::time::Duration;
//! use uds_ipc::{Writer, WriterBuilder};
//!
//! /// Room for so many messages a second, of so many bytes, over so long an outage.
//! fn sized(builder: WriterBuilder, rate: usize, len: usize, outage: Duration) -> WriterBuilder {
//!     let seconds = usize::try_from(outage.as_secs()).unwrap_or(usize::MAX).max(1);
//!     let messages = rate.saturating_mul(seconds);
//!     // A frame has a length of at most ten bytes.
//!     let bytes = messages.saturating_mul(len.saturating_add(10));
//!     builder.max_queued_messages(messages).max_queued_bytes(bytes)
//! }
//!
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("nobody-is-there.sock");
//! // 500 messages of 200 bytes a second, over half a minute: 15,000 messages, 3 MB.
//! let writer = sized(Writer::builder(&path), 500, 200, Duration::from_secs(30)).start()?;
//! for _ in 0..15_000 {
//!     writer.try_send(&[0; 200])?;
//! }
//! assert!(writer.try_send(&[0; 200]).is_err());
//! # let _ = writer.shutdown(Duration::ZERO)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | what | how large | where |
//! | --- | --- | --- |
//! | the queue | rate × outage; with `AtLeastOnce` also what the handler has not confirmed | [`max_queued_messages`](crate::WriterBuilder::max_queued_messages), [`max_queued_bytes`](crate::WriterBuilder::max_queued_bytes) |
//! | the longest message | the same at both ends, or larger at the reader's | `max_message_len` |
//! | connections | one for each writer | [`max_connections`](crate::ReaderBuilder::max_connections), and above it `LimitNOFILE=` |
//! | the collector's memory | `max_partial_bytes`, what the handler holds, and some | `MemoryMax=` |
//! | its threads | handlers that wait: one for each that may wait at once | [`max_threads`](crate::ReaderBuilder::max_threads) |
//!
//! [The page on speed](super::speed#which-settings-to-change) says what a larger queue costs.
