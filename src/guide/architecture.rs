//! What the crate is made of.
//!
//! ```text
//! Writer, in many threads                    the writer's thread
//! try_send ──▶ lanes ──▶ queue ──blocks──▶ outbox ──vectored write──▶ kernel
//!          one a thread,       crossbeam   what is not settled yet:     │
//!          without a lock      channel     the retry buffer             │
//!                                                                       │
//!              handler ◀──&[u8]── decoder ◀──read, pooled buffers───────┘
//!      one connection at a time,  the reader's threads
//!      in order
//! ```
//!
//! The two halves share the wire format, addresses and figures, and never name each other. Imports
//! point down only, and never in a circle: a test (`tests/tidy.rs`) holds a table of which module
//! may import which, and the layers inside each folder, against the code.
//!
//! | layer | rule |
//! | --- | --- |
//! | what users hold | thin: docs, settings, checks |
//! | shells | only here the clock is read and anything blocks; the test lists them |
//! | machines | pure: bytes, counts and `now` come in, what is to be done comes out |
//! | system | descriptors and `io::Error`, no policy; the seam for other platforms |
//! | leaves | values |
//!
//! # Files
//!
//! Each says in its first line what it is.
//!
//! ```text
//! lib.rs                    the front page, and what users need first
//! guide/                    pages
//!     mod.rs architecture.rs delivery.rs promises.rs sockets.rs speed.rs systemd.rs
//! systemd/                  a service, and how it notifies systemd
//!     mod.rs service.rs     what users hold
//!     schedule.rs           when systemd is notified next (pure)
//!     notify.rs             notifications, sent in order
//! writer/
//!     mod.rs builder.rs     what users hold
//!     send.rs               every way into the queue: copied, handed over, encoded
//!     thread/               the writer's thread
//!         mod.rs worker.rs  its loop, and one connection of it
//!         acks.rs           what comes back: receipts, and how far the peer has read
//!         kernel.rs         what it asks of the system: the seam of the simulation
//!     shared/               what senders and the thread share
//!         mod.rs waiting.rs  behind one lock
//!         flush.rs          what a flush waits for (pure)
//!     state/                what the thread does next (pure)
//!         mod.rs
//!         link.rs step.rs timing.rs
//!     wake.rs               what wakes it before its time is over
//!     ack_tracker.rs        what the reader has read and acknowledged (pure)
//!     queue/                what is accepted and not yet settled (pure)
//!         mod.rs lanes.rs lane_record.rs writing.rs
//!         budget.rs         the bounds
//!         watermarks.rs     how far messages have come
//!         outbox.rs         what the kernel has not taken, or no receipt covers
//!         block.rs          frames in memory
//!         deferred_drop.rs  memory on its way out of the lock
//!     lane/                 the memory into which one thread writes, without a lock
//!         mod.rs local.rs
//!     counters.rs           figures
//!     settings.rs           what users choose
//! reader/
//!     mod.rs builder.rs     what users hold
//!     handler.rs
//!     threads/              the reader's threads
//!         mod.rs
//!         supervisor.rs     times, workers, and the end
//!         worker.rs         waits for what is ready, and deals with it
//!         accept.rs         accepts connections, and pauses in a shortage
//!         turn.rs           a turn at a connection
//!         batch.rs          what a turn brought (pure)
//!     shared.rs             what the threads share, behind one lock
//!     connection/           a connection, and the machines that serve it
//!         mod.rs
//!         decoder.rs        bytes to frames (pure)
//!         receipts.rs       which receipt is due (pure)
//!         clock.rs          when it has taken too long (pure)
//!         closing.rs        why it is closed (pure)
//!     pool_size.rs          how many workers there are (pure)
//!     callbacks.rs          what of the user's is called
//!     health.rs             how the reader is
//!     counters.rs           figures
//! listen/                   a listening socket: when it is bound, what becomes of its file
//!     mod.rs bind.rs
//!     directory.rs          the directory: made, or refused where others may write
//!     lock_file.rs          one starter at a time
//!     stale.rs              the check for a stale socket
//!     displaced.rs          whether the file is still at its path
//!     listener.rs           accepting, and the end
//! activation/               the sockets that systemd passed
//!     mod.rs error.rs
//!     variables.rs          LISTEN_FDS and its like, parsed
//!     claim.rs              the descriptors, taken over once
//!     passed.rs             which of them a reader gets
//! sys/                      calls of the system, and no policy
//!     mod.rs file.rs descriptor.rs environment.rs
//!     socket.rs listening_socket.rs notify.rs
//!     poller.rs interest.rs wait.rs
//!     asymmetric_fence.rs
//!     linux/                what differs between systems
//!         mod.rs credentials.rs fence.rs file_watch.rs pinned.rs
//!         poll.rs poller.rs process.rs unread.rs waker.rs
//!     other/                the same for macOS and the BSDs
//!         mod.rs credentials.rs fence.rs file_watch.rs pinned.rs
//!         poll.rs poller.rs process.rs unread.rs waker.rs
//! event/                    what happens later
//!     mod.rs writer.rs reader.rs
//! error.rs send_error.rs    what a call meets
//! system_error.rs           an error of the system's, to be cloned and compared
//! metrics.rs                figures
//! outcome.rs                what users' closures return
//! observer.rs reentry.rs    calls into users' code, and calls out of it
//! runtime_directory.rs      the directory that systemd made
//! descriptor_kind.rs        what a descriptor is that is no listening socket
//! address.rs peer.rs        who is where
//! message.rs                what is sent
//! wire/                     and how it looks on the wire
//!     mod.rs frame.rs receipt.rs
//! backoff.rs pool.rs        waits between tries, and buffers for the next time
//! clock.rs deadline.rs      the time now, and moments to end at
//! own_thread.rs             a thread with its fork guard
//! num.rs                    conversions of numbers
//! ```
//!
//! # The writer
//!
//! A message is framed once, by its sender, at the end of its thread's lane: memory into which that
//! thread alone writes, and which the queue reads without stopping it. How far the thread came is
//! one word that it stores after each message; so a send is a copy and a few plain stores, without
//! a lock and without a locked instruction. A full lane becomes a block as it is: its memory is
//! sealed and pushed into a bounded crossbeam channel, and the lane gets other memory. The writer's
//! thread takes the sealed blocks, copies together what stands in the lanes of threads that send
//! little, and hands it all to the kernel with one vectored write. So neither the queue nor the
//! kernel is paid for each message. A large owned message is a block of its own: prefix and payload
//! as two slices, never copied. A used block is used again.
//!
//! What the bounds of the queue allow is leased to a lane in advance, up to a block at a time and
//! an even share of what is free (a quarter where there are more than four lanes), and each lease
//! ends when it is used up, when somebody else needs the room, when the writer's thread goes to
//! sleep, and when the writer is shut down. Whoever ends it from outside does so under the queue's
//! lock: it marks the lane as shut, has all processors pass a memory barrier (`membarrier(2)`;
//! elsewhere each send has a barrier of its own), and takes what is there. A thread looks at the
//! mark after each message, and if the lane was shut it settles with the queue, under the lock,
//! whether that message was taken. Messages of different threads have no order among each other
//! until they leave their lanes. Threads beyond the 64th, and those that are about to end, use the
//! open block, under the lock.
//!
//! No index of the frames in a block is kept: after a partial write they are walked to find the
//! first whose last byte the kernel did not take. From there the next connection goes on. That is
//! the retry buffer; there is no second one.
//!
//! What the thread does next is decided by two small enums:
//!
//! ```text
//! phase: Running ──shutdown(deadline)──▶ Draining{deadline}
//! link:  Down{retry_at} ──connected──▶ Up{flow} ──lost──▶ Down{now + backoff}
//! ```
//!
//! | | down, retry due | down, waiting | up, pending | up, unconfirmed | up, nothing |
//! | --- | --- | --- | --- | --- | --- |
//! | running | connect | wait until the retry | write | wait for a message or a receipt | wait for a message |
//! | draining | connect | wait until the retry or the deadline | write | wait for a receipt or the deadline | exit |
//! | draining, past the deadline | exit | exit | exit | exit | exit |
//!
//! Control (shutdown, flush) travels beside the queue, never through it: a full queue delays
//! nothing.
//!
//! After a loss the next try comes 20 ms later: a process that dies may lose its connections before
//! its listening socket, and a connect at once would succeed. A full socket is
//! written to again every 50 ms, since Linux reports room only when three quarters of the buffer
//! are free.
//!
//! After a batch the thread lingers for 200 µs, in which no sender has to wake it; it sleeps for
//! good when that brought nothing. A sleeping thread is woken through an eventfd, and so is a
//! lingering one when a whole block is ready for it, or somebody waits; a few messages gather
//! meanwhile.
//!
//! # At least once
//!
//! Each connection opens with an empty frame of its own kind (`80 00`), so that a reader that
//! cannot store a batch knows from the first one on that it will come again. A block ends with such
//! a question too, and stays in the outbox when the kernel has taken it, until a receipt covers it;
//! small blocks that wait so are put together. After a loss all blocks are rewound, and go out
//! again in order. The acks keeps the books of one connection after the other: what was written,
//! read and handled, and whether a receipt can be true. A call of `flush` looks at the queue and
//! the acks, and sleeps until either has changed.
//!
//! When a peer takes no more bytes and owes a receipt, the thread listens on for its last words
//! before it gives the connection up. A connection that
//! ends in the middle of a message makes that message suspect, and the next connection probes it:
//! see `outbox.rs`.
//!
//! # How it is proved
//!
//! The thread runs on a small trait, `Kernel`: the clock, connecting, waiting, and the calls of a
//! socket. In the simulation (`writer/simulation`) a number stands for the clock, runs of bytes for
//! connections, and the reader's own decoder and receipts at the other end; producers, the reader
//! and chance do what a seed tells them. After every step the bounds, the books, the order and the
//! figures are checked against what the simulated kernel and reader know, and in the end everything
//! must have arrived that the promises say. A failure is cut down to a short history. `.ci/faults`
//! puts more than seventy faults into the code, one at a time, and expects each to be found.
//!
//! # The reader
//!
//! One poller (epoll, elsewhere kqueue), every connection armed for one event, every worker in the
//! same loop: wait for one ready thing, deal with it, arm it again. An idle connection costs no
//! buffer and no thread; a connection is served by one worker at a time, a turn each. The listening
//! socket is one of the ready things, so that whatever a user's function does on accepting holds up
//! only that connection.
//!
//! A worker that has read 128 KiB and more in a turn looks for further work for 20 µs before it
//! sleeps: to wake it would cost its peer more.
//!
//! The supervisor is a thread that runs nothing of the user's: it keeps the times, adds workers
//! where all have been held up for five milliseconds, and brings the reader to its end. To close a
//! connection it forbids the peer to send (`shutdown` of the receiving side) and lets a worker read
//! what is still there.
//!
//! A peer that asks, with an empty frame, is told at the end of a batch how many of its messages
//! were dealt with. That never blocks: what does not fit waits until there is room, and one number
//! serves all requests before it. Before the reader hangs up on a message above its limit it says
//! so in the last receipt, whose number is padded by a byte.
//!
//! Messages are slices of the read buffer, without a copy. Only one that is spread over two reads
//! gets memory of its own, which grows with the bytes that came; the rest of a long one is read
//! straight into it.
//!
//! # Many connections
//!
//! `cargo bench --bench scale` prints what they cost. On two processors that had other work too, in
//! four to six runs each:
//!
//! | | asked for | measured |
//! | --- | --- | --- |
//! | the reader's memory for an idle connection, of 10,000 (the kernel's own share is not in it) | 2 KiB | 342 to 358 bytes |
//! | threads for them | none | none |
//! | a busy connection beside them, of its speed alone | 0.9 | 0.91 to 1.57 |
//! | 1,000 busy connections: what the busiest got of what the least got | 3 | 1.00 to 1.05 |
//! | all of these together, of a single one's speed: two threads serve them, and one a single one | 0.7 | 1.12 to 1.81, and more where the single one's sender was held up |
//! | messages that wait behind 64 connections whose handler blocks for a second, at most | 50 ms | 9 to 29 ms |
