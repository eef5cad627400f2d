//! Every setting of a writer, a reader, and both ends of calls, with its default, and how an
//! address is written.
//!
//! The defaults suit a daemon that sends telemetry, and a collector. Every setting is checked when
//! the writer or the reader is built.
//!
//! # A writer's
//!
//! | [`Writer::builder(address)`](crate::Writer::builder) | default | unit | what it is |
//! | --- | --- | --- | --- |
//! | [`max_queued_messages`](crate::WriterBuilder::max_queued_messages) | 10,000 | messages | the most that may be accepted and not sent; with `AtLeastOnce`: not confirmed |
//! | [`max_queued_bytes`](crate::WriterBuilder::max_queued_bytes) | 64 MiB | bytes | likewise; a longer message is refused |
//! | [`overflow`](crate::WriterBuilder::overflow) | `Refuse` | | when the queue is full: refuse the new message, or `DropOldest` |
//! | [`delivery`](crate::WriterBuilder::delivery) | `AtMostOnce` | | or `AtLeastOnce`: a message is kept until the reader confirms it |
//! | [`shutdown_level`](crate::WriterBuilder::shutdown_level) | `Written` | | what `shutdown` waits for: `Written`, `Read` (Linux) or `Handled`; with `AtLeastOnce` always `Handled` |
//! | [`max_message_len`](crate::WriterBuilder::max_message_len) | 10 MiB | bytes | a longer message is refused |
//! | [`write_timeout`](crate::WriterBuilder::write_timeout) | 1 s | time | when the reader takes no byte for so long, the writer makes a new connection |
//! | [`connect_timeout`](crate::WriterBuilder::connect_timeout) | 1 s | time | when the reader's backlog is full, or TCP gets no answer, for so long, the try to connect has failed |
//! | [`backoff_min`](crate::WriterBuilder::backoff_min) | 10 ms | time | the first wait between two tries to connect |
//! | [`backoff_max`](crate::WriterBuilder::backoff_max) | 1 s | time | the longest wait between two tries to connect |
//! | [`send_buffer_size`](crate::WriterBuilder::send_buffer_size) | 212,992; TCP: the system's | bytes | `SO_SNDBUF`; Linux doubles it |
//! | [`tcp_keepalive`](crate::WriterBuilder::tcp_keepalive) | 10 s | time | how long a TCP peer may be silent before its kernel is probed |
//! | [`tcp_user_timeout`](crate::WriterBuilder::tcp_user_timeout) | 10 s | time | how long what was sent over TCP may go unacknowledged by the peer's kernel (Linux) |
//! | [`allow_remote`](crate::WriterBuilder::allow_remote) | no | | whether a TCP address may be another machine's |
//! | [`linger`](crate::WriterBuilder::linger) | 200 µs | time | how long the writer's thread waits for more messages before it sleeps; not `SO_LINGER` |
//! | [`keepalive`](crate::WriterBuilder::keepalive) | never | time | how often an idle connection carries an empty frame |
//! | [`expect_peer_uid`](crate::WriterBuilder::expect_peer_uid) | any | uid | the only user to whose reader a byte is sent |
//! | [`crash_proof`](crate::WriterBuilder::crash_proof) | no | | whether what is queued outlives the process (Linux, Unix sockets) |
//! | [`descriptor_store`](crate::WriterBuilder::descriptor_store) | no | | whether systemd keeps what is queued for the next process of the service; with `crash_proof` |
//! | [`thread_name`](crate::WriterBuilder::thread_name) | `uds-ipc-writer` | without NUL bytes | the name of the writer's thread; Linux shows its first 15 bytes |
//! | [`on_event`](crate::WriterBuilder::on_event) | none | | the observer of connections, losses and ends |
//! | [`drop_notice`](crate::WriterBuilder::drop_notice) | none | | a message that tells of those for which there was no room |
//!
//! # A reader's
//!
//! | [`Reader::builder(address)`](crate::Reader::builder) | default | unit | what it is |
//! | --- | --- | --- | --- |
//! | [`max_message_len`](crate::ReaderBuilder::max_message_len) | 10 MiB | bytes | a peer that announces a longer message loses its connection |
//! | [`idle_timeout`](crate::ReaderBuilder::idle_timeout) | 10 s; never where peers cannot connect again | time | the connection of a peer that is silent for so long is closed |
//! | [`min_receive_rate`](crate::ReaderBuilder::min_receive_rate) | 65,536 | bytes a second | a frame that comes slower, by the bytes that have come, is an error |
//! | [`max_connections`](crate::ReaderBuilder::max_connections) | 1,024 | connections | more wait in the backlog |
//! | [`max_connections_per_user`](crate::ReaderBuilder::max_connections_per_user) | all; half where other users may connect | connections | more of one user are refused |
//! | [`max_partial_bytes`](crate::ReaderBuilder::max_partial_bytes) | 256 MiB | bytes | what half messages of all connections may hold; at the bound reading stops |
//! | [`max_threads`](crate::ReaderBuilder::max_threads) | 128 | threads | for handlers that block; a reader begins with one |
//! | [`descriptor_store`](crate::ReaderBuilder::descriptor_store) | no | | whether a reader that stops leaves the queues of `crash_proof` writers to the next process of its service, by systemd |
//! | [`recover`](crate::ReaderBuilder::recover) | `SameUser` | | whose queues are taken over when their processes have died: `Nothing`, `SameUser` (and root) or `AnyUser` |
//! | [`socket_mode`](crate::ReaderBuilder::socket_mode) | 0600 | permissions | set before any peer can connect |
//! | [`socket_owner`](crate::ReaderBuilder::socket_owner) | the user that binds | uid | |
//! | [`socket_group`](crate::ReaderBuilder::socket_group) | the group that binds | gid | |
//! | [`recv_buffer_size`](crate::ReaderBuilder::recv_buffer_size) | TCP on loopback: 212,992; else the system's | bytes | `SO_RCVBUF`; without effect on Unix sockets of Linux |
//! | [`allow_remote`](crate::ReaderBuilder::allow_remote) | no | | whether a TCP address may be reached from other machines |
//! | [`activation`](crate::ReaderBuilder::activation) | the first that fits | | which socket of systemd's the reader takes; where systemd passed none, the reader makes its own |
//! | [`peer_check`](crate::ReaderBuilder::peer_check) | all | | refuses a peer before a byte of it is read |
//! | [`thread_name`](crate::ReaderBuilder::thread_name) | `uds-ipc-reader` | | the name of the threads that run the handler; Linux shows its first 15 bytes |
//! | [`on_event`](crate::ReaderBuilder::on_event) | none | | the observer of connections, errors and shortages |
//!
//! # A caller's
//!
//! With the feature `calls`, as the next.
//!
//! | [`Caller::builder(address)`](crate::calls::Caller::builder) | default | unit | what it is |
//! | --- | --- | --- | --- |
//! | [`max_open_calls`](crate::calls::CallerBuilder::max_open_calls) | 1,024 | calls | the most that may be open at once; one above that is an error at once |
//! | [`max_bytes_in_flight`](crate::calls::CallerBuilder::max_bytes_in_flight) | 64 MiB | bytes | what open calls may hold, and likewise answers that nobody has taken; each counts for 256 bytes more |
//! | [`max_call_len`](crate::calls::CallerBuilder::max_call_len) | 1 MiB | bytes | a longer call is refused; not above the responder's |
//! | [`max_reply_len`](crate::calls::CallerBuilder::max_reply_len) | 10 MiB | bytes | a responder that announces a longer answer loses its connection |
//! | [`backoff_min`](crate::calls::CallerBuilder::backoff_min) | 10 ms | time | the first wait between two tries to connect |
//! | [`backoff_max`](crate::calls::CallerBuilder::backoff_max) | 250 ms | time | the longest wait between two tries to connect |
//! | [`expect_peer_uid`](crate::calls::CallerBuilder::expect_peer_uid) | any | uid | the only user whose responder is called; with a socket of systemd's that is root |
//!
//! # A responder's
//!
//! | [`Responder::builder(address)`](crate::calls::Responder::builder) | default | unit | what it is |
//! | --- | --- | --- | --- |
//! | [`allow`](crate::calls::ResponderBuilder::allow) | this user and root, everything | | who may call what |
//! | [`max_open_calls`](crate::calls::ResponderBuilder::max_open_calls) | 1,024 | calls | of one connection at once; one above that is refused |
//! | [`max_bytes_in_flight`](crate::calls::ResponderBuilder::max_bytes_in_flight) | 16 MiB | bytes | what the open calls of one connection may hold, and its answers that are not read; each counts for 256 bytes more |
//! | [`max_bytes_held`](crate::calls::ResponderBuilder::max_bytes_held) | 256 MiB | bytes | what the open and half calls of all connections may hold |
//! | [`max_call_len`](crate::calls::ResponderBuilder::max_call_len) | 1 MiB | bytes | a peer that announces a longer call loses its connection |
//! | [`max_reply_len`](crate::calls::ResponderBuilder::max_reply_len) | 10 MiB | bytes | a longer answer fails its call; not above the callers' |
//! | [`max_connections`](crate::calls::ResponderBuilder::max_connections) | 1,024 | connections | more wait in the backlog |
//! | [`max_connections_per_user`](crate::calls::ResponderBuilder::max_connections_per_user) | all; half where other users may connect | connections | more of one user are closed |
//! | [`max_threads`](crate::calls::ResponderBuilder::max_threads) | 128 | threads | for handlers that block; there are two at least |
//! | [`frame_timeout`](crate::calls::ResponderBuilder::frame_timeout) | 10 s | time | how long a call may take to come whole, and 1 s for each 64 KiB of it |
//! | [`write_timeout`](crate::calls::ResponderBuilder::write_timeout) | 10 s | time | how long a peer may leave answers unread |
//! | [`socket_mode`](crate::calls::ResponderBuilder::socket_mode) | 0600 | permissions | set before any peer can connect |
//! | [`socket_owner`](crate::calls::ResponderBuilder::socket_owner) | the user that binds | uid | |
//! | [`socket_group`](crate::calls::ResponderBuilder::socket_group) | the group that binds | gid | |
//! | [`activation`](crate::calls::ResponderBuilder::activation) | the first that fits | | which socket of systemd's the responder takes; where systemd passed none, it makes its own |
//! | [`thread_name`](crate::calls::ResponderBuilder::thread_name) | `uds-ipc-calls` | | the name of its threads; Linux shows its first 15 bytes |
//!
//! # Addresses
//!
//! An address is the path of a socket, or on Linux `@NAME`, an abstract name; `tcp:HOST:PORT`, on
//! this machine unless `allow_remote` is set; `fd:N`, a descriptor that is open already; or `-`,
//! standard input or output. `unix:PATH` says that a path is meant. Streams that a program has
//! already are given to `Writer::over` and `Reader::serve`, and `Writer::with_connector` connects
//! in ways of your own. [The page on streams](super::streams) says which to take, and what each
//! promises.
//!
//! Helpers for daemons: `systemd::runtime_path` (a path in the directory that systemd made for the
//! service), `create_socket_dir`, `remove_stale_socket`, `Address::MAX_LEN`.
