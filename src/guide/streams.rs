//! Which stream to take, and what each promises.
//!
//! The frames are the same over every stream, and so are queue, reconnection, receipts, figures and
//! events. What differs is what the kernel does.
//!
//! # Which one to take
//!
//! | | take |
//! | --- | --- |
//! | daemons of one machine | a Unix socket with a path: the fastest, its file says who may connect, and the kernel says who did |
//! | a service that systemd starts | the same, made by a socket unit: [`systemd`](crate::systemd) |
//! | a parent and the children that it starts | a socketpair for each child: no path, nothing to clean up, and all that a child sent before its death is there |
//! | a program that can only be reached by a port, such as one in a virtual machine | TCP on a loopback address, or a tunnel to one. (A container has a loopback of its own, unless it shares the network namespace: give it the socket's folder) |
//! | another machine | a Unix socket or a loopback port, and ssh, stunnel or `WireGuard` between the two |
//! | whatever else has a descriptor: vsock, a proxy | a [`Connector`](crate::Connector), and [`Reader::serve`](crate::Reader::serve) at the other end |
//! | a tool that reads standard input | a pipe: `-`, or `fd:N` |
//!
//! How an address is written says [`Address`](crate::Address).
//!
//! # What each promises
//!
//! A socketpair is a Unix socket, and promises as much; [the page on delivery](super::delivery)
//! goes through that. This is what differs over TCP and over a pipe:
//!
//! | event | TCP | a pipe | shown by the tests |
//! | --- | --- | --- | --- |
//! | the reader stops, or closes an idle connection; `AtMostOnce` | nothing is lost, but for the two cases below: the reader ends its sending side and reads on; the writer notices, and ends its own | what is written after the reader has read for the last time is lost; on Linux the writer says `unread` | `planned_stops_lose_nothing_and_repeat_nothing_over_what_reconnects`, `an_idle_connection_is_closed_and_costs_no_message`, `a_stream_that_was_given_is_read_to_its_end_when_the_reader_stops`, `an_idle_stream_that_was_given_is_closed_without_a_loss_and_ends_its_writer` |
//! | likewise, `AtLeastOnce` | nothing is lost, and nothing comes twice: the reader says so in a receipt, and confirms all that was on its way before it closes | no receipts: [`start`](crate::WriterBuilder::start) refuses | `planned_stops_repeat_nothing_over_tcp_with_receipts_either`, `over_tcp_readers_that_stop_lose_nothing_that_waits_for_receipts`, `batches_that_are_confirmed_during_a_stop_do_not_come_again_over_tcp`, `without_a_way_back_a_writer_that_needs_receipts_is_refused`, `over_tcp_what_is_confirmed_late_in_a_stop_does_not_come_again` |
//! | a peer that knows nothing of this (any program that sends frames) | it is read until it has been silent for three seconds, at a stop at most until that's timeout, and closed. One that asks for receipts and goes on sending is told by the end of the way back, once all was read and ten seconds have passed since the word, or it has sent 64 MiB since | nobody is told | `a_tcp_peer_that_knows_nothing_of_stops_does_not_hold_one_up`, `a_tcp_peer_that_goes_on_after_the_word_that_the_reader_stops_is_told_by_the_end`, `a_peer_that_leaves_its_receipts_unread_does_not_hold_a_stop_up` |
//! | the reader is killed; `AtMostOnce` | what it had read and not handled, and what the kernels at both ends held: on loopback up to twice 212,992 bytes at the reader, and at the writer what `tcp_wmem` allows, or [`send_buffer_size`](crate::WriterBuilder::send_buffer_size) | what the pipe held: 64 KiB unless set | `over_tcp_readers_that_are_killed_cost_what_was_on_its_way_without_receipts`, `a_killed_reader_of_a_pipe_costs_what_the_pipe_held_and_the_writer_says_so`, `what_a_given_stream_holds_is_lost_with_its_reader_and_the_writer_says_so` |
//! | the reader is killed; `AtLeastOnce` | nothing is lost | no receipts | `over_tcp_readers_that_are_killed_lose_nothing_that_waits_for_receipts` |
//! | the writer is shut down or dropped | all that it counted as sent arrives: where an answer may still come, it waits for that, at the latest until its timeout | all that it counted as sent arrives | `over_tcp_the_end_of_a_writer_waits_for_an_answer_that_is_on_its_way`, `all_that_a_writer_counted_as_sent_when_it_was_shut_down_arrives_at_a_reader_that_is_late` |
//! | the writer is killed | all that it counted as sent arrives, unless a receipt is on its way to it: then the kernel may throw away what it still holds | all that it counted as sent arrives | `over_tcp_a_killed_writer_has_sent_what_it_counted`, `a_writer_that_is_dropped_leaves_nothing_behind_over_each_kind_of_stream` |
//! | the reader hangs | as over a Unix socket; a stream that was given is waited for | likewise | `a_reader_that_takes_no_byte_is_given_up_at_the_write_timeout`, `over_tcp_and_pipes_too_a_reader_that_takes_no_byte_is_given_up_at_the_write_timeout`, `a_given_stream_whose_reader_takes_no_byte_is_waited_for` |
//! | the reader closes without reading | a reset, which throws away what was on its way; told as `unread`, unless the writer has ended or hears of the end before the reset | likewise, on Linux | `a_message_above_the_readers_limit_is_given_up_over_what_reconnects`, `a_reader_that_closes_without_reading_leaves_the_word_unread_over_each_kind_of_stream`, `a_message_above_the_readers_limit_ends_a_stream_that_was_given` |
//! | the peer vanishes without a word | see [below](#a-peer-that-vanishes) | cannot be | `a_cable_that_is_cut_while_nothing_is_sent_is_noticed_at_both_ends`, `at_least_once_a_cable_that_is_cut_under_load_costs_nothing`, `at_most_once_a_cut_cable_costs_what_the_kernel_held_and_no_more`, `at_most_once_a_cable_that_is_mended_in_time_costs_nothing`, `a_machine_that_vanishes_is_given_up_for_a_new_one_at_its_address` |
//! | who the peer is | its address; not its user: [`Identity::Remote`](crate::Identity::Remote) | [`Identity::Unknown`](crate::Identity::Unknown) | `a_peer_is_known_over_unix_sockets_only_and_can_be_refused_over_all` |
//! | [`FlushLevel::Read`](crate::FlushLevel::Read) | is [`Unsupported`](crate::error::FlushError::Unsupported): the kernel tells what has come to the other kernel, not what was read there | works on Linux | `a_flush_reaches_the_levels_that_its_stream_tells_of` |
//! | [`FlushLevel::Handled`](crate::FlushLevel::Handled) | works | is `Unsupported` | `a_flush_reaches_the_levels_that_its_stream_tells_of` |
//!
//! The two cases over TCP: after its end the reader waits three seconds for the next byte, so that
//! a longer way loses what is on it (with `AtLeastOnce` what has not come after ten seconds comes
//! again); and a peer that connects in the very moment in which the
//! listening socket is closed is reset, which its writer says (`unread`).
//!
//! Any other stream socket that is connected, such as one of vsock, is treated as TCP is. Who its
//! peer is, is [`Identity::Unknown`](crate::Identity::Unknown).
//!
//! A pipe has no way back. Its reader cannot say that it stops, which message it refuses, or that
//! it has handled one.
//!
//! # TCP
//!
//! ```
//! use std::time::Duration;
//! use uds_ipc::{Delivery, Reader, Writer};
//!
//! // Port 0 is one that is free.
//! let reader = Reader::builder("tcp:127.0.0.1:0").bind()?.start(|message| {
//!     println!("{}", String::from_utf8_lossy(message));
//! })?;
//! let writer = Writer::builder(reader.address()).delivery(Delivery::AtLeastOnce).start()?;
//! writer.try_send("over TCP")?;
//! assert_eq!(writer.shutdown(Duration::from_secs(5))?.left.messages, 0);
//! assert_eq!(reader.shutdown(Duration::from_secs(5))?.metrics.received.messages, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Over TCP nobody says who is at the other end, and nothing is encrypted. Every user of the
//! machine can connect to a loopback port, and can listen there before your collector does. So
//! other addresses than those of loopback are refused unless `allow_remote` is set, at both ends:
//! at the writer when it starts, or where a name leads to one by the event `ConnectFailed`. To
//! reach another machine lead the stream through a program that knows who is there:
//!
//! * **ssh** carries a Unix socket: after `ssh -N -L
//!   /run/app/far.sock:/run/collector/telemetry.sock collector-host` a writer to
//!   `/run/app/far.sock` sends to the collector of that host. There the peer is the user whom ssh
//!   let in.
//! * **stunnel** leads a loopback port to another one over TLS, with certificates at both ends.
//! * **`WireGuard`** makes an address that only known machines have. Set `allow_remote` for it.
//!
//! The end of such a tunnel takes bytes before the far end has them: with `AtMostOnce` *sent* then
//! means that the tunnel has the message. [`AtLeastOnce`](crate::Delivery::AtLeastOnce) is meant
//! for that.
//!
//! A name is looked up anew for each connection, on a thread of its own: the system's resolver may
//! take seconds. A reader binds the first address of the name, a writer tries all of them: write
//! `127.0.0.1` or `[::1]` where both ends must agree. Meanwhile messages wait in the queue.
//!
//! # A peer that vanishes
//!
//! Where a cable is cut or a machine is switched off, TCP says nothing. What notices:
//!
//! | at | while | setting | unless set |
//! | --- | --- | --- | --- |
//! | the writer | it has something to send, and the kernel takes none of it | [`write_timeout`](crate::WriterBuilder::write_timeout) | 1 s |
//! | the writer | the kernel has taken it, and gets no acknowledgement (Linux) | [`tcp_user_timeout`](crate::WriterBuilder::tcp_user_timeout) | 10 s |
//! | the writer | it is idle | [`tcp_keepalive`](crate::WriterBuilder::tcp_keepalive) | 10 s, and five probes in 10 s more |
//! | the reader | it hears nothing | [`idle_timeout`](crate::ReaderBuilder::idle_timeout) | 10 s |
//!
//! With `AtMostOnce` what the kernel had taken until then is lost; with `AtLeastOnce` it is sent
//! again.
//!
//! # Streams that are there already
//!
//! [`Writer::over`](crate::Writer::over) takes one stream, and ends with it.
//! [`Reader::serve`](crate::Reader::serve) hands a stream to a reader that runs, which needs no
//! listening socket: [`Reader::without_listener`](crate::Reader::without_listener). A parent
//! and a child, where the child inherits descriptor 3 (std has no safe way to give it; the crate
//! `command-fds` has):
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::os::unix::net::UnixStream;
//! use uds_ipc::{Reader, Writer};
//!
//! // The parent. It keeps no copy of the child's end: or it would not learn of the child's end.
//! let reader = Reader::without_listener().bind()?.start(|_| ())?;
//! let (ours, theirs) = UnixStream::pair()?;
//! let child = reader.serve(ours)?;
//! // Start the child with `theirs` as descriptor 3, and drop it here. The event
//! // `ReaderEvent::Closed` with this number of a connection says that the child has ended.
//! # let _ = (child, theirs);
//!
//! // The child.
//! let writer = Writer::start("fd:3")?;
//! # Ok(())
//! # }
//! ```
//!
//! The example `children` is the whole of it. A descriptor `fd:N`, and `-`, may also be a socket
//! that listens, for a reader.
//!
//! [`Writer::with_connector`](crate::Writer::with_connector) is for whoever dials in a way of their
//! own, and wants to be connected again after a loss. A writer through a proxy:
//!
//! ```
//! use std::io::{self, Read, Write};
//! use std::net::{SocketAddr, TcpStream};
//! use std::time::Duration;
//! use uds_ipc::{Connector, Writer};
//!
//! /// Asks an HTTP proxy for a way to the collector.
//! fn through_proxy(proxy: SocketAddr, to: &'static str) -> impl Connector {
//!     move |timeout: Duration| {
//!         let mut stream = TcpStream::connect_timeout(&proxy, timeout)?;
//!         stream.set_read_timeout(Some(timeout))?;
//!         write!(stream, "CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n")?;
//!         let mut answer = Vec::new();
//!         while !answer.ends_with(b"\r\n\r\n") {
//!             let mut byte = [0];
//!             stream.read_exact(&mut byte)?;
//!             answer.extend(byte);
//!         }
//!         if !answer.starts_with(b"HTTP/1.1 200") {
//!             return Err(io::Error::other("the proxy refuses"));
//!         }
//!         Ok(stream)
//!     }
//! }
//!
//! let proxy = "127.0.0.1:3128".parse()?;
//! let writer = Writer::with_connector(through_proxy(proxy, "collector:7000")).start()?;
//! # writer.shutdown(Duration::ZERO)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Why there is no `fifo:PATH`
//!
//! A FIFO (a pipe with a path) looks like a simple socket, and is none:
//!
//! * Two writers mix their frames: the kernel keeps pieces of up to 4096 bytes together and nothing
//!   longer ([pipe(7)](https://man7.org/linux/man-pages/man7/pipe.7.html)). After that no reader
//!   finds the next frame (`two_writers_of_a_fifo_mix_their_long_frames`).
//! * When a reader ends while a writer has the FIFO open, the next reader begins where the first
//!   one stopped: in the middle of a frame
//!   (`the_next_reader_of_a_fifo_begins_in_the_middle_of_a_frame`).
//! * There is no way back for receipts, and nobody knows who writes.
//!
//! Whoever must use one, with one writer and one reader: the reader opens it to read and to write,
//! so that it survives the coming and going of its writers, and gives it to
//! [`serve`](crate::Reader::serve). The writer opens it in a connector, under a lock, which keeps a
//! second writer out (`over_a_fifo_a_connector_sends_to_a_reader_that_is_given_its_other_end`):
//!
//! ```no_run
//! use std::fs::OpenOptions;
//! use std::io;
//! use std::time::Duration;
//! use uds_ipc::{Reader, Writer};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let fifo = "/run/collector/telemetry.fifo";
//! // The collector.
//! let reader = Reader::without_listener().bind()?.start(|_| ())?;
//! reader.serve(OpenOptions::new().read(true).write(true).open(fifo)?)?;
//!
//! // The daemon.
//! let writer = Writer::with_connector(move |_: Duration| {
//!     let file = OpenOptions::new().write(true).open(fifo)?;
//!     // Of std since Rust 1.89. The lock ends with the descriptor.
//!     file.try_lock().map_err(io::Error::other)?;
//!     Ok::<_, io::Error>(file)
//! })
//! .start()?;
//! # Ok(())
//! # }
//! ```
//!
//! # How fast they are
//!
//! On Linux a Unix socket is ahead of TCP, by little once TCP has the buffer that suits it.
//! `uds-ipc bench --stream unix,tcp,pipe` compares them on your machine. On a virtual machine with
//! two processors, 31 rounds, one producer, medians of the ratios within each round, all three with
//! the buffers that were found best (212,992 bytes, for TCP at the receiver; 1 MiB for the pipe):
//!
//! | length | TCP: speed, of a Unix socket's | its processor time | a pipe: speed | its processor time |
//! | --- | --- | --- | --- | --- |
//! | 16 bytes | 0.88 (0.56 to 1.43) | 1.12 | 0.89 (0.44 to 1.28) | 1.24 |
//! | 100 bytes | 0.90 (0.61 to 2.10) | 1.09 | 0.71 (0.49 to 1.52) | 1.65 |
//! | 1 KiB | 0.90 (0.46 to 1.67) | 1.04 | 0.55 (0.44 to 1.12) | 2.14 |
//! | 10 KiB | 0.73 (0.38 to 1.85) | 1.21 | 0.53 (0.19 to 1.11) | 2.11 |
//! | 100 KiB | 0.81 (0.38 to 2.83) | 1.13 | 0.46 (0.34 to 1.78) | 2.23 |
//!
//! Of the bare streams without frames TCP has 0.91 to 1.02 of a Unix socket's speed, and a pipe a
//! third. (Others found TCP ahead on macOS.) What the buffers do, measured in the same way:
//!
//! * **TCP, the receiver's**: with 212,992 bytes it was 1.5 to 2.1 times as fast as with the
//!   system's own, for half to two thirds of the processor time. Left alone, Linux lets megabytes
//!   gather between the two ends. With 425,984 the gain was gone. So that is what
//!   [`recv_buffer_size`](crate::ReaderBuilder::recv_buffer_size) is on a loopback address unless
//!   set; over a long way a buffer that cannot grow would be the limit.
//! * **TCP, the sender's**: no size made a difference.
//! * **A pipe**: with a capacity of 1 MiB (`F_SETPIPE_SZ`, see [fcntl(2)](https://man7.org/linux/man-pages/man2/fcntl.2.html))
//!   it was twice as fast as with the 64 KiB that it has at first. The crate does not change it:
//!   what a pipe holds is what a killed reader costs. Whoever makes the pipe may set it.
//! * **A Unix socket**: 212,992 is as good as any larger size.
