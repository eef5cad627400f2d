//! Beside what people use today: what each is, what it does when things go wrong, and when to
//! choose it instead.
//!
//! What is said of another library or program is of the version that is named, and was read in its
//! own documentation or source. It says nothing of speed: how fast the others are was not measured
//! here, but for the hand-written sender of [the page on speed](super::speed).
//!
//! # In short
//!
//! | | what it is | choose it when |
//! | --- | --- | --- |
//! | this crate | a bounded queue in each daemon and a framed stream to one collector on the machine | many daemons hand lines, figures or events to one, and it must be known what became of each |
//! | tracing-appender | a thread that writes a program's own log lines to a file or another `io::Write` | one process writes one file: there is no second process to run. It also rotates by the clock |
//! | cadence | a statsd client | what listens speaks statsd already |
//! | ZeroMQ, nng | messaging patterns over several transports, in many languages | you need another pattern (publish and subscribe, many receivers) or many machines |
//! | tokio-util's `LengthDelimitedCodec` | frames over any async stream | you have the connection and the task already, and want to hold the protocol in your own hands |
//! | ipc-channel | Rust channels between processes, typed by serde | a program splits itself into a few processes, and sends descriptors, shared memory or channels along |
//! | iceoryx2 | publish and subscribe, requests and events over shared memory | messages are large, or several processes read the same ones, or the latency may not depend on their size |
//! | journald | the system's log: structured, indexed, kept on disk | people read it with `journalctl`, at the rates of a log |
//! | syslog | the system's log, as text, and on to other machines | what receives it speaks syslog already |
//! | an RPC library (tonic, zbus, varlink) | requests and their answers | you want typed services, or answers that are streams |
//! | a broker (NATS, Kafka, Redis Streams) | a server that stores messages for many readers | messages must outlive both ends, or have many readers. The package in `relay/` takes them on to one |
//!
//! # When things go wrong
//!
//! | | the receiver is slow or away | the receiver is killed | who is told what was lost |
//! | --- | --- | --- | --- |
//! | this crate | the queue fills, to a bound in messages and in bytes; then messages are refused, or the oldest go. A send never waits | `AtLeastOnce`: nothing is lost, some may come twice. `AtMostOnce`: [what it had read, and a socket's buffer](super::delivery) | the caller, the figures, the events |
//! | tracing-appender 0.2.5 | the queue of 128,000 lines fills; then lines are dropped, or with `lossy(false)` callers wait | there is none: the file is the receiver | a counter has the lines that were dropped. A write that fails is not reported |
//! | cadence 1.8 | a datagram for each metric, or for a buffer of them. `QueuingMetricSink` sends from a thread, with a queue that is unbounded unless `with_capacity` is used | what lay in the socket is lost; the next metric goes to whoever listens at the path | the caller, when the queue is full; the `with_error_handler`, when sending fails |
//! | ZeroMQ (libzmq 4.3.4), PUSH | `zmq_send` waits at the high-water mark, 1,000 messages for each peer unless set, or fails with `ZMQ_DONTWAIT`. (PUB drops instead) | PUSH and PULL have no acknowledgement | the caller, when it does not wait. A socket monitor tells of connections |
//! | nng (1.4, which the Rust crate 1.0 has), push | a send waits until a peer can take it, or fails when told not to. Not buffered unless set, up to 8,192 messages | "no guarantee of delivery is made": its manual recommends the request protocol for that | the caller, when it does not wait |
//! | tokio-util 0.7.20 | the stream's backpressure | as your program says: it is a codec | your program |
//! | ipc-channel 0.23 | "always unbounded and `send()` never blocks" | sends fail, and what was on its way is lost | the caller |
//! | iceoryx2 0.9 | the subscriber's buffer, two samples unless set, fills; then its oldest sample makes room, unless the service was made without `enable_safe_overflow`: then the sender retries, or discards | what a dead process has left is cleaned up when the next one opens the service | the sender: a send returns how many subscribers got the sample |
//! | journald (systemd 252) | a datagram to the journal's socket; a sender that blocks waits | systemd holds its sockets, and starts it again | a line in the journal says how many messages its rate limit dropped: unless set those above 10,000 in 30 s, times a factor for free space |
//! | syslog (`/dev/log`) | likewise a datagram | as the daemon does it | as the daemon does it: rsyslog has queues, also on disk, and figures |
//!
//! That a datagram's sender waits was tried: on Linux with `net.unix.max_dgram_qlen` at 10, the
//! twelfth datagram to a Unix socket that nobody reads does not return.
//!
//! # What only some have
//!
//! | | messages are | needs | systems |
//! | --- | --- | --- | --- |
//! | this crate | any bytes, up to 10 MiB unless set | no runtime, no C code | Linux; macOS and the BSDs are type-checked only |
//! | tracing-appender | lines | `tracing-subscriber` | wherever Rust's std is |
//! | cadence | statsd's text; above what a datagram holds it cannot be sent | a statsd server | Unix sockets on Unix, UDP everywhere |
//! | ZeroMQ, nng | any bytes, also in parts (ZeroMQ) | a C library | many, also Windows; nng's `ipc://` is a named pipe there |
//! | tokio-util | any bytes; four bytes of length and up to 8 MiB unless set | an async runtime's streams | wherever they are |
//! | ipc-channel | what serde can write, and descriptors, memory, channels | Rust at both ends | also macOS and Windows |
//! | iceoryx2 | memory that both ends understand without encoding it | shared memory; C, C++ and Python have bindings | Linux, macOS, Windows, QNX, FreeBSD |
//! | journald | fields; a line of standard output up to 48 KiB unless set | systemd | Linux |
//! | syslog | text; 1,024 bytes in RFC 3164 | a syslog daemon | Unix |
//!
//! # Each by itself
//!
//! * **tracing-appender.** Its guard waits 100 ms for room in the queue and a second for the
//!   thread. The queue is bounded in lines, not in bytes. [How to change
//!   over](super::from_tracing_appender).
//! * **cadence.** Its text goes over this crate as well: a `MetricSink` of your own calls
//!   [`try_send`](crate::Writer::try_send). What it has and this crate has not: types for counters,
//!   timers and tags.
//! * **ZeroMQ, nng.** A ZeroMQ socket belongs to one thread at a time; a [`Writer`](crate::Writer)
//!   is shared. Binding `ipc://` takes a path away from a process that listens there (its manual,
//!   `zmq_ipc(7)`); here that is an error. [How to change over](super::from_zeromq).
//! * **tokio-util.** [`FrameCodec`](crate::FrameCodec) is such a codec, for this crate's frames.
//!   What a `Writer` adds is the queue, the thread, reconnection, receipts and figures.
//! * **ipc-channel.** Its server accepts one client: its own page says that this does not suit a
//!   system service. It passes descriptors and memory; this crate passes bytes only.
//! * **iceoryx2.** No copy is made, whatever the size; here the kernel makes two. A subscriber asks
//!   for samples, and sleeps by an event of its own. Unless configured a service has two publishers
//!   and eight subscribers. What is sent while nobody subscribes is gone, but for a history that is
//!   asked for; here it waits in the sender's queue.
//! * **journald, syslog.** They are there already, and people know where to look. A collector of
//!   this crate can write to them; what it brings is rates above theirs, binary messages, receipts
//!   and figures for what was dropped.
//! * **The Go library uds-ipc** is what this crate is a port of, with the same bytes on the wire:
//!   [what is not the same](super::from_go#what-is-not-the-same).
