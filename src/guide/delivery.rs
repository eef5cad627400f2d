//! What is promised of messages: with `AtMostOnce`, with `AtLeastOnce`, and of their order.
//!
//! # The rules
//!
//! * A message is *accepted* when the send returns `Ok`, *sent* when the kernel has taken its last
//!   byte, *received* when the handler is called with it, *handled* when the handler has returned
//!   for it and for the end of its batch, and *confirmed* when a receipt has told the writer so.
//!   [`WriterMetrics`](crate::metrics::WriterMetrics) and
//!   [`ReaderMetrics`](crate::metrics::ReaderMetrics) count these. The [front page](crate#words)
//!   has all words.
//! * A message that was not sent is kept, and goes out on the next connection from the start of its
//!   frame. Half a message is never delivered.
//! * With [`AtMostOnce`](crate::Delivery::AtMostOnce), the default, a message that was sent is
//!   never sent again. So nothing arrives twice.
//! * With [`AtLeastOnce`](crate::Delivery::AtLeastOnce), a message that is not confirmed when its
//!   connection ends is sent again, the oldest first. So a reader may be killed at any moment and
//!   nothing is lost, if its handler stores a message before `batch_end` returns. Some messages may
//!   arrive twice, never on the same connection.
//! * The messages of one thread arrive in order, as long as they travel on one connection. After a
//!   write timeout the reader may handle the rest of the old connection while it handles the new
//!   one.
//! * The messages of different threads have no order, even if one was sent after the other. Two
//!   that were sent within the [`linger`](crate::WriterBuilder::linger) may change places; without
//!   a connection, two that were sent before the next try to connect. An async task that moves from
//!   thread to thread counts as several threads. Where the order matters, send from one thread, or
//!   call [`flush`](crate::Writer::flush) before the other thread sends.
//!
//! # What can be lost, and what can come twice
//!
//! | event | `AtMostOnce`: lost | `AtLeastOnce`: lost | `AtLeastOnce`: repeated | shown by the tests |
//! | --- | --- | --- | --- | --- |
//! | the reader is stopped with [`shutdown`](crate::Reader::shutdown) | nothing (Linux) | nothing | up to 128 KiB of messages, if the writer is in the middle of a write; else nothing | `a_reader_stopped_as_planned_thirty_times_loses_nothing_and_repeats_nothing`, `a_planned_stop_of_the_reader_repeats_nothing`, `a_planned_stop_of_a_reader_that_falls_behind_repeats_no_more_than_a_block` |
//! | the reader closes an idle connection | nothing (Linux) | nothing | nothing | `connections_closed_for_silence_cost_nothing` |
//! | the reader is away | nothing, until the queue is full: then messages are refused | nothing, until the queue is full: then messages are refused | nothing | `without_a_reader_what_fits_is_kept_and_the_rest_is_refused`, `a_shutdown_while_the_reader_is_away_reconnects_and_drains` |
//! | the reader is killed, or crashes | what lay in its socket's buffer, and what it had read and not handled | nothing | what was handled and not confirmed | `a_reader_killed_ten_times_costs_what_was_on_its_way_without_receipts`, `a_reader_killed_thirty_times_loses_nothing_that_waits_for_receipts`, `a_writer_whose_peer_died_with_bytes_unread_says_so` |
//! | the reader hangs, and reads no byte | nothing, until the queue is full | nothing, until the queue is full | what had been sent, at each write timeout: 1 s unless set, then 2, 4, and so on to 64 s | `a_reader_that_takes_no_byte_is_given_up_at_the_write_timeout`, `a_peer_that_never_reads_costs_bounded_memory_and_no_time`, `at_least_once_each_timeout_without_a_receipt_doubles_the_next` |
//! | the handler needs longer for a batch than the write timeout | nothing | nothing | what had been sent, at each write timeout, as above | `a_handler_slower_than_the_write_timeout_gets_each_message_once`, `a_handler_slower_than_the_write_timeout_confirms_in_the_end`, `at_least_once_each_timeout_without_a_receipt_doubles_the_next` |
//! | the reader reads, and sends no receipts | nothing | nothing, until the queue is full: then messages are refused, since none is ever confirmed; the event is [`NoReceipt`](crate::event::WriterEvent::NoReceipt) | all that the queue holds, when the connection ends | `a_peer_that_reads_and_never_answers_leaves_everything_counted` |
//! | [`message`](crate::Handler::message) returns an error, or panics | that message | nothing | that message, and what had been sent behind it | `with_at_most_once_an_error_or_a_panic_costs_that_message_only`, `a_message_that_fails_comes_again_until_it_is_dealt_with`, `what_was_stored_before_a_message_that_fails_is_confirmed_and_nothing_behind_it_is_handled` |
//! | [`batch_end`](crate::Handler::batch_end) returns an error, or panics | that batch | nothing | that batch, and what had been sent behind it | `a_batch_that_is_not_stored_costs_nothing_behind_it`, `a_batch_comes_again_until_it_is_stored` |
//! | the writer is stopped with [`shutdown`](crate::Writer::shutdown) | nothing, if it ends in time: the report says what was left | nothing, if it ends in time: the report says what was left, not known to be handled | nothing | `what_was_left_at_the_end_is_counted_as_failed`, `a_peer_that_reads_and_never_answers_leaves_everything_counted` |
//! | the writer's process is killed | what it had not sent | what it had not sent; and what was not confirmed, if the reader fails as well | nothing | `a_killed_writer_has_sent_what_it_counted` |
//! | the writer's process is killed, and is [`crash_proof`](super::crash_proof) | nothing (Linux) | nothing (Linux) | nothing | `deaths_at_random_lose_nothing_and_repeat_nothing`, `ten_lines_before_a_sigkill_arrive` |
//! | the machine loses power | the writer's queue, and what the handler had not made durable | the writer's queue, and what the handler had not made durable | nothing | `both_ends_killed_at_once_keep_what_was_confirmed` |
//! | the reader refuses a message, because it is above its limit | that message, and what lay in its socket's buffer | that message | what had been sent with it | `a_small_message_that_is_always_refused_is_given_up_behind_others`, `a_message_that_the_reader_refuses_is_given_up_after_three_probes`, `a_reader_that_was_asked_says_which_message_it_refuses`, `planned_stops_that_cut_a_message_again_and_again_do_not_count_against_it`, `a_message_that_planned_stops_cut_again_and_again_is_kept` |
//! | the reader's receipt cannot be true | nothing; only `flush` and `shutdown` at the level `Handled`, and `keepalive`, request receipts | nothing | what was not confirmed before | `without_receipts_a_false_one_ends_the_connection_and_repeats_nothing`, `a_false_receipt_ends_the_connection_and_the_rest_is_sent_again` |
//!
//! The test of a loss of power kills both processes at once: what is in the memory of either is
//! gone then too. The handler must see to it that a file is on the disk before `batch_end` returns:
//! the receipt goes out after that.
//!
//! `.ci/run` prints after the tests how many messages were repeated, or lost, when readers were
//! killed.
//!
//! The table is of Unix sockets. What differs over TCP and pipes stands on [the page on
//! streams](super::streams).
//!
//! All of it also runs through simulated histories of everything that can go wrong; see [the
//! architecture](super::architecture).
//!
//! # What a killed reader costs with `AtMostOnce`
//!
//! The socket's buffer is the price of speed. With the default `send_buffer_size` of 212,992, which
//! Linux doubles, it holds up to 425,984 bytes and one piece more of at most 36 KiB: 462,848 bytes
//! in all. Messages are written in blocks, which fill nearly all of it. With 256 KiB that was
//! measured as 23,824 messages of 20 bytes, 2,592 of 200 or 128 of 4 KiB. With a smaller
//! [`send_buffer_size`](crate::WriterBuilder::send_buffer_size) fewer are lost, at the cost of
//! throughput. On Linux the writer notices that a peer has died with bytes unread:
//! [`Lost`](crate::event::WriterEvent::Lost) says `unread`, and `lost_with_unread` counts it.
//!
//! What the reader had read and not handled is at most 256 KiB, or one message if that is longer. A
//! handler that stores at [`batch_end`](crate::Handler::batch_end) also loses its batch, which is
//! at most four times as much.
//!
//! What a receiver of [batches](crate::Batches) had out is at most 2 MiB.
//!
//! # A store for lines
//!
//! Lines of a log library have no numbers by which a repeat could be told. Where repeats do no
//! harm, append what comes, and confirm a batch once it is on the disk:
//!
//! ```
//! use std::fs::File;
//! use std::io::{self, Read, Write};
//! use std::path::Path;
//! use std::time::Duration;
//! use uds_ipc::{Batch, Delivery, Reader, Writer};
//!
//! struct Store {
//!     file: File,
//!     /// The length of its whole lines.
//!     len: u64,
//! }
//!
//! impl Store {
//!     fn open(path: &Path) -> io::Result<Self> {
//!         let mut file = File::options().read(true).append(true).create(true).open(path)?;
//!         let mut text = Vec::new();
//!         file.read_to_end(&mut text)?;
//!         let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
//!         // The file's name must survive a loss of power too.
//!         File::open(path.parent().unwrap())?.sync_all()?;
//!         Ok(Self { file, len: end.try_into().unwrap() })
//!     }
//!
//!     fn append(&mut self, batch: &Batch) -> io::Result<()> {
//!         let mut text = Vec::new();
//!         for line in batch.messages() {
//!             text.extend_from_slice(line);
//!             text.push(b'\n');
//!         }
//!         // A write that failed, or a process that was killed, may have left half a line.
//!         self.file.set_len(self.len)?;
//!         self.file.write_all(&text)?;
//!         self.file.sync_data()?;
//!         self.len += u64::try_from(text.len()).unwrap();
//!         Ok(())
//!     }
//! }
//!
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("log.sock");
//! # let log = directory.path().join("log");
//! # std::fs::write(&log, "whole\nhalf")?;
//! // The collector.
//! let mut store = Store::open(&log)?;
//! let (reader, batches) = Reader::builder(&path).bind()?.start_batches()?;
//! let thread = std::thread::spawn(move || {
//!     for batch in batches {
//!         match store.append(&batch) {
//!             Ok(()) => batch.done(),
//!             // Dropped without `done`, it comes again, after the writer's backoff.
//!             Err(error) => eprintln!("not stored: {error}"),
//!         }
//!     }
//! });
//!
//! // The daemon: its lines wait in the queue until they are confirmed.
//! let writer = Writer::builder(&path)
//!     .delivery(Delivery::AtLeastOnce)
//!     .max_queued_messages(100_000)
//!     .start()?;
//! let guard = writer.shutdown_guard(Duration::from_secs(5));
//! let lines = writer.clone();
//! let subscriber = tracing_subscriber::fmt().with_ansi(false);
//! let subscriber = subscriber.with_writer(move || lines.lines()).finish();
//! tracing::subscriber::with_default(subscriber, || tracing::info!("started"));
//! drop(guard);
//!
//! let _ = reader.shutdown(Duration::from_secs(5))?;
//! # thread.join().unwrap();
//! # let text = std::fs::read_to_string(&log)?;
//! # assert!(text.starts_with("whole\n2") && text.ends_with("started\n"), "{text}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! When the collector is killed, lines that it has stored and not confirmed come again, most often
//! those of the last moments. The writer's figure `resent` is the most that can have come twice.
//! The queue itself dies with the daemon, unless it is [`crash_proof`](super::crash_proof). Whoever
//! must tell a repeat writes a number in front of each line, in its own `MakeWriter`, and stores as
//! below.
//!
//! # A store that keeps each message once
//!
//! It is for one writer that numbers its lines, with numbers that never start again: whatever has
//! no number, or one that was there before, it confirms and throws away.
//!
//! ```
//! use std::cell::RefCell;
//! use std::fs::File;
//! use std::io::{self, Read, Write};
//! use std::path::Path;
//! use std::sync::Mutex;
//! use std::time::Duration;
//! use uds_ipc::{Delivery, FlushLevel, Handler, Peer, Reader, Writer};
//!
//! thread_local! {
//!     /// All calls of one batch come from one thread, for one connection.
//!     static BATCH: RefCell<Vec<u8>> = RefCell::default();
//! }
//!
//! /// Keeps lines in a file, each of them once. A message is one line. It begins with a number,
//! /// which grows from line to line.
//! struct Store(Mutex<Kept>);
//!
//! struct Kept {
//!     file: File,
//!     /// The length of its whole lines.
//!     len: u64,
//!     /// The number of the last line in it.
//!     last: Option<u64>,
//! }
//!
//! /// The number of a line. `None` where this is not one whole line.
//! fn number_of(line: &[u8]) -> Option<u64> {
//!     let text = std::str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
//!     if text.contains('\n') {
//!         return None;
//!     }
//!     text.split(' ').next()?.parse().ok()
//! }
//!
//! impl Store {
//!     /// A process that was killed may have left half a line. It is cut off: the message comes
//!     /// again.
//!     fn open(path: &Path) -> io::Result<Self> {
//!         let mut file = File::options().read(true).append(true).create(true).open(path)?;
//!         let mut lines = Vec::new();
//!         file.read_to_end(&mut lines)?;
//!         lines.truncate(lines.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1));
//!         let last = lines.split_inclusive(|byte| *byte == b'\n').last().and_then(number_of);
//!         let kept = Kept { file, len: lines.len().try_into().unwrap(), last };
//!         // The file's name must survive a loss of power too.
//!         File::open(path.parent().unwrap())?.sync_all()?;
//!         Ok(Self(Mutex::new(kept)))
//!     }
//! }
//!
//! impl Handler for Store {
//!     type Error = io::Error;
//!
//!     fn message(&self, message: &[u8], _: &Peer) -> io::Result<()> {
//!         // A message that is no line is skipped: after an error it would come again for ever.
//!         if number_of(message).is_some() {
//!             BATCH.with_borrow_mut(|batch| batch.extend_from_slice(message));
//!         }
//!         Ok(())
//!     }
//!
//!     /// After `Ok` the batch is confirmed; after an error it comes again.
//!     fn batch_end(&self, _: &Peer) -> io::Result<()> {
//!         let batch = BATCH.take();
//!         let mut kept = self.0.lock().unwrap();
//!         // Compared here, under the lock: an old connection may be served at the same time.
//!         let last = kept.last;
//!         let lines = batch.split_inclusive(|byte| *byte == b'\n');
//!         let new: Vec<&[u8]> = lines.filter(|line| number_of(line) > last).collect();
//!         let text = new.concat();
//!         // A write that failed may have left a part of a batch behind the whole lines.
//!         kept.file.set_len(kept.len)?;
//!         kept.file.write_all(&text)?;
//!         kept.file.sync_data()?;
//!         kept.len += u64::try_from(text.len()).unwrap();
//!         kept.last = new.last().and_then(|line| number_of(line)).or(last);
//!         Ok(())
//!     }
//! }
//!
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("audit.sock");
//! # let file = directory.path().join("audit.log");
//! # std::fs::write(&file, "1 the daemon started\n2 somebody log")?;
//! let reader = Reader::builder(&path).bind()?.start_handler(Store::open(&file)?)?;
//!
//! let writer = Writer::builder(&path).delivery(Delivery::AtLeastOnce).start()?;
//! # writer.try_send("1 the daemon started\n")?;
//! writer.try_send("2 somebody logged in\n")?;
//! writer.flush(FlushLevel::Handled, Duration::from_secs(5))?;
//! # assert_eq!(std::fs::read_to_string(&file)?, "1 the daemon started\n2 somebody logged in\n");
//!
//! let report = writer.shutdown(Duration::from_secs(5))?;
//! assert_eq!((report.left.messages, report.metrics.queued.messages), (0, 0));
//! assert_eq!(reader.shutdown(Duration::from_secs(5))?.cut, 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A message takes its room in the queue until it is confirmed. The queue must be large enough for
//! what is on its way: the default is, unless the handler takes long to end its batches. With
//! messages of 100 bytes the throughput was 0.84 to 0.98 of that without receipts in three runs of
//! `cargo bench --bench receipts`, and 0.87 to 1.03 with a queue of twice as many messages.
//!
//! A store that must not keep a message twice sorts out repeats by numbers, as above:
//!
//! * **One series of numbers for each thread that sends**, since only the messages of one thread
//!   are in order. In a common series, what another thread sent a little earlier would be taken for
//!   a repeat. A task that moves between threads counts as several threads.
//! * **A name for each series**, where there are several: a name in each message, and a last number
//!   for each name. A program that starts anew takes a new name, unless its numbers go on where
//!   they ended.
//! * **The last number is that of the last message that was *stored*.** After a restart it comes
//!   from the store, not from memory.
//! * **It is compared and moved on in `batch_end`**, under the lock of the store: after a write
//!   timeout the reader may handle the rest of the old connection while it handles the new one.
//!
//! Within a connection the numbers of one thread only grow. After a `message` or a `batch_end` that
//! failed nothing more of that connection is handled: the first frame of the connection has told
//! the reader that its writer has `AtLeastOnce`. A `message` that fails must leave nothing of
//! itself behind for the end of its batch, or it may be stored twice.
//!
//! The size of a batch depends on the load. At a low rate it is a message or two, and a `batch_end`
//! that waits for the disk does so for each. It is at most 1 MiB, or one message if that is longer.
//! The reader's events tell whether batches fail; the writer only sees that its connection ended.
//!
//! # A message that the reader refuses
//!
//! A reader closes the connection on a message that is above its limit. How the writer learns which
//! message that was:
//!
//! * **From a receipt**, if it has requested one on that connection, as it does with `AtLeastOnce`.
//!   The reader's last receipt is padded by one byte, which says that it refuses the next message.
//!   The writer gives that message up at once.
//! * **By a probe**, with `AtMostOnce`, if the reader has said nothing. A message is suspected when
//!   a connection ends in the middle of it. On the next connection the writer sends the message's
//!   length alone, and the rest 100 ms later, twice as long each further time. It gives the message
//!   up when three connections in a row end just behind the length, all with the same process that
//!   listens. Any other ending does not count, so that stops and crashes which happen to cut a long
//!   message cost nothing. A probe does not find a short message, which is in the reader's buffer
//!   as a whole and so never cut.
//!
//! With `AtLeastOnce` nothing but a receipt counts against a message: a connection that ends behind
//! it may as well have failed at an earlier one, which is then sent again. So a reader of your own
//! that sends receipts and has a limit must name the message that it refuses. If it only closes the
//! connection, that message is sent to it for ever, and those behind it wait.
//!
//! A message that was given up counts in `failed.given_up`, and the event is
//! [`GivenUp`](crate::event::WriterEvent::GivenUp).
//!
//! # A handler that is slow
//!
//! A handler that needs longer for a batch than the write timeout lets the socket fill up. The
//! writer gives the connection up, and sends again what was not confirmed. Each time the next
//! timeout is twice as long, up to 64 times the one that is set, until a receipt comes within the
//! timeout that is set. So the messages get through, with repeats. A longer
//! [`write_timeout`](crate::WriterBuilder::write_timeout) avoids the repeats.
//!
//! # Asking how far messages have come
//!
//! [`flush`](crate::Writer::flush) waits until all messages before it are [`Written`, `Read` or
//! `Handled`](crate::FlushLevel), with `AtMostOnce` too. It requests a receipt only at the level
//! `Handled`.
//!
//! With `AtMostOnce` a connection may end before it is known how far its messages have come; the
//! reader closes idle connections too. A call during which that happens returns
//! [`Lost`](crate::error::FlushError::Lost). [`Flushed::losses`](crate::Flushed::losses) counts all
//! such connections since the writer began: compare the numbers of two calls to learn of those in
//! between.
//!
//! [`shutdown`](crate::Writer::shutdown) waits until all messages are written; with `AtLeastOnce`,
//! until all are handled. [`shutdown_level`](crate::WriterBuilder::shutdown_level) makes it wait
//! with `AtMostOnce` until all are read or handled. The report's `reached` says whether they were,
//! and `left` how many were not even written (with `AtLeastOnce`: not confirmed):
//!
//! ```
//! use std::time::Duration;
//! use uds_ipc::error::FlushError;
//! use uds_ipc::{FlushLevel, Writer};
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("telemetry.sock");
//! # let reader = uds_ipc::Reader::builder(&path).bind()?.start(|_| ())?;
//!
//! let writer = Writer::builder(&path).shutdown_level(FlushLevel::Handled).start()?;
//! writer.try_send("the last words")?;
//! match writer.shutdown(Duration::from_secs(5))?.reached() {
//!     Ok(()) => println!("all was handled"),
//!     Err(FlushError::Lost { .. }) => println!("a connection was lost, and maybe messages on it"),
//!     Err(error) => println!("{error}"),
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A reader closes the connection of a writer that is silent for longer than its `idle_timeout`,
//! and the writer then cannot learn whether its last messages were handled. That counts as a loss,
//! unless a receipt came before. A [`keepalive`](crate::WriterBuilder::keepalive) below that time
//! avoids it, and so does a `flush` at once.
//!
//! # A longer outage
//!
//! The queue bridges an outage: 10,000 messages and 64 MiB unless set, whichever is reached first.
//! At 1,000 messages a second that is ten seconds.
//!
//! ```
//! use std::time::Duration;
//! use uds_ipc::Writer;
//!
//! // Ten minutes of 500 messages a second.
//! let writer = Writer::builder("/tmp/nobody-is-there.sock")
//!     .max_queued_messages(300_000)
//!     .max_queued_bytes(256 * 1024 * 1024)
//!     .start()?;
//! for number in 0..20_000 {
//!     writer.try_send(format!("event {number}"))?;
//! }
//! assert_eq!(writer.metrics().queued.messages, 20_000);
//!
//! // The report and the figures say what was left.
//! let report = writer.shutdown(Duration::ZERO)?;
//! assert_eq!(report.left.messages, 20_000);
//! assert_eq!(report.metrics.failed.left, report.left);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Where the newest messages matter more than the oldest,
//! [`Overflow::DropOldest`](crate::Overflow::DropOldest) makes room: it evicts the oldest ones of
//! which the reader has no byte.
//!
//! # Ends
//!
//! Shut the writer down before the process ends, and look at the report. When the last clone is
//! dropped instead, the writer sends for up to a second what it can. A process that is killed, or
//! calls `exit`, drops nothing: what is queued is lost.
//!
//! A daemon that forks must start its writers and readers after the fork: a child has the object,
//! but not the thread. In the child a drop does nothing, and messages only fill the queue.
