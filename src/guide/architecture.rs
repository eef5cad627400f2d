//! What the crate is made of.
//!
//! ```text
//! senders                                    the writer's thread
//! try_send ──▶ lanes ──▶ queue ──blocks──▶ outbox ──vectored write──▶ kernel
//!          one a thread,       crossbeam   not sent, or not             │
//!          without a lock      channel     confirmed: the               │
//!                                          retry buffer                 │
//!                                                                       │
//!              handler ◀──&[u8]── decoder ◀──read, pooled buffers───────┘
//!          in order for each      the reader's workers
//!          connection
//! ```
//!
//! The writer and the reader share the wire format, addresses and figures, and never import each
//! other. Imports point down only, and never in a circle. A test (`tests/tidy.rs`) compares the
//! code with a table of which module may import which, and with the layers inside each folder.
//!
//! | layer | rule |
//! | --- | --- |
//! | what users hold | thin: docs, settings, checks |
//! | shells | the only files that read the clock, block, or do I/O; the test lists them |
//! | state machines | pure: bytes, counts and `now` come in, what to do comes out |
//! | system | descriptors and `io::Error`, no policy; the seam for other platforms |
//! | leaves | values |
//!
//! What kind a stream is, is named in `sys`, and where an address is opened: in `dial.rs` and in
//! `listen`. All else goes by what it can do, a value: `abilities.rs`.
//!
//! # Files
//!
//! The first line of each file says what it is.
//!
//! ```text
//! lib.rs                    the front page, and what users need first
//! guide/                    pages
//!     mod.rs architecture.rs calls.rs comparison.rs cookbook.rs crash_proof.rs delivery.rs
//!     ecosystem.rs from_go.rs from_tracing_appender.rs from_zeromq.rs production.rs promises.rs
//!     settings.rs sockets.rs speed.rs stability.rs streams.rs systemd.rs tool.rs wire.rs
//! systemd/                  a service, and how it notifies systemd
//!     mod.rs service.rs     what users hold
//!     schedule.rs           when systemd is notified next (pure)
//!     notify.rs             notifications, sent in order
//! writer/
//!     mod.rs builder.rs     what users hold
//!     connector.rs          ways to connect that are the user's
//!     io_write.rs lines.rs  for whoever writes: a write is a message, or a line is one
//!     end_of_program.rs     a guard, and a hook for panics
//!     message_sink.rs       a writer as a `Sink`
//!     async_writer.rs       what would block, to be awaited
//!     send.rs               every way into the queue: copied, handed over, encoded
//!     thread/               the writer's thread
//!         mod.rs worker.rs  its loop, and one connection of it
//!         acks.rs           what comes back: receipts, and how far the peer has read
//!         dial.rs           makes its connections
//!         attempt.rs        what a try to connect has come to
//!         drop_notice.rs    when the writer says that messages were dropped
//!         kernel.rs         what it asks of the system: the seam of the simulation
//!         inherit.rs        what the process before this one had left
//!         memory.rs         memory of the system's that outlives the process
//!     shared/               what senders and the thread share
//!         mod.rs locked.rs  behind one lock
//!         waiting.rs tasks.rs  the threads and tasks that wait for a change
//!         flush.rs          what a flush waits for (pure)
//!     state/                what the thread does next (pure)
//!         mod.rs
//!         link.rs step.rs timing.rs
//!     wake.rs               what wakes it before its time is over
//!     ack_tracker.rs        what the reader has read and acknowledged (pure)
//!     queue/                what is accepted and not yet settled (pure)
//!         mod.rs lanes.rs lane_record.rs writing.rs
//!         open_block.rs     messages that come one by one
//!         budget.rs         the bounds
//!         watermarks.rs     how far messages have come
//!         outbox.rs         what the kernel has not taken, or no receipt covers
//!         block.rs          frames in memory, and how far they have come
//!         whole.rs          a message that is a block by itself
//!         spare.rs          blocks and slots for the next time
//!         deferred_drop.rs  memory on its way out of the lock
//!     lane/                 a slot into which one thread writes, without a lock
//!         mod.rs local.rs
//!     slot.rs               the memory: filled from its start, and read in ranges
//!     arena.rs              where it outlives the process, with the words that say what is in it
//!     counters.rs           figures
//!     settings.rs           what users choose
//! reader/
//!     mod.rs builder.rs     what users hold
//!     handler.rs
//!     batches.rs            instead of a handler: batches to be confirmed, in a loop
//!     batch_stream.rs       likewise, in a task
//!     batch.rs              one batch, and its confirmation
//!     batch_queue.rs        where batches wait for their receiver
//!     gatherer.rs           gathers them
//!     target.rs             what messages are given to: a handler, or batches
//!     threads/              the reader's threads
//!         mod.rs
//!         supervisor.rs     times, workers, and the end
//!         worker.rs         waits for what is ready, and deals with it
//!         accept.rs         accepts connections, and pauses in a shortage
//!         turn.rs           a turn at a connection
//!         batch.rs          what a turn brought (pure)
//!     shared.rs             what the threads share, behind one lock
//!     arenas.rs             what writers have passed, and which of them are dead
//!     recover.rs            whose are taken
//!     connection/           a connection, and the machines that serve it
//!         mod.rs
//!         source.rs         where its messages come from: a stream, or
//!         remains.rs        what a dead writer has left
//!         decoder.rs        bytes to frames (pure)
//!         receipts.rs       which receipt is due (pure)
//!         unconfirmed.rs    the batches that are out (pure)
//!         batch_end.rs      how one ended (pure)
//!         timeouts.rs       when it has taken too long (pure)
//!         closing.rs        why it is closed (pure)
//!     thread_pool.rs        how many workers there are (pure)
//!     callbacks.rs          what of the user's is called
//!     health.rs             how the reader is
//!     counters.rs           figures
//! listen/                   a listening socket: when it is bound, what becomes of its file
//!     mod.rs bind.rs options.rs
//!     path.rs               a socket with a file, on Unix; so are the four below
//!     directory.rs          the directory: made, or refused where others may write
//!     lock_file.rs          one starter at a time
//!     stale.rs              the check for a stale socket
//!     socket_file.rs        whether the file is still at its path
//!     no_file.rs            in their place elsewhere
//!     listener.rs           accepting, and the end
//! activation/               the sockets that systemd passed
//!     mod.rs error.rs
//!     variables.rs          LISTEN_FDS and its like, parsed
//!     claim.rs              the descriptors, taken over once
//!     passed.rs             which of them a reader gets
//! descriptor_store/         what the service manager keeps over a restart
//!     mod.rs
//!     name.rs               the names, which say what is known of it (pure)
//!     manager.rs            the manager
//!     nowhere.rs            where there is none
//! sys/                      calls of the system, and no policy
//!     mod.rs
//!     abilities.rs          what a kind of stream can do: what the machines go by
//!     arrival.rs family.rs file_change.rs interest.rs not_accepted.rs readiness.rs
//!     shared_memory_error.rs tcp_options.rs transfer.rs
//!     no_shared_memory.rs   where no memory can be passed
//!     fork.rs resolve.rs asymmetric_fence.rs
//!     file.rs descriptor.rs environment.rs inherited.rs signals.rs standard_streams.rs
//!     listening_socket.rs notify.rs poller.rs wait.rs
//!     stream/               one connection, of whatever kind: the same names in each file
//!         mod.rs calls.rs
//!         unix.rs tcp.rs pipe.rs other.rs
//!         socket.rs         what sockets have in common
//!     linux/                what differs between one Unix and another
//!         mod.rs arrival_watch.rs credentials.rs fence.rs file_watch.rs passing.rs
//!         peer_process.rs pinned.rs poll.rs poller.rs process.rs shared_memory.rs
//!         unread.rs waker.rs
//!     other/                the same for macOS and the BSDs
//!         mod.rs arrival_watch.rs credentials.rs fence.rs file_watch.rs passing.rs
//!         peer_process.rs pinned.rs poll.rs poller.rs process.rs unread.rs waker.rs
//!     windows/              a stub of all that is not the same on each system
//!         mod.rs fence.rs inherited.rs listening_socket.rs peer_process.rs poller.rs
//!         stream.rs unsupported.rs wait.rs waker.rs watch.rs
//! event/                    what happens later
//!     mod.rs writer.rs reader.rs notify_error.rs severity.rs
//! error.rs send_error.rs    what a call meets
//! system_error.rs           an error of the system's, to be cloned and compared
//! metrics/                  figures
//!     mod.rs
//!     figure.rs             their names, and what they mean (pure)
//!     exposition.rs         as a page for Prometheus (pure)
//!     publisher.rs          for the `metrics` crate
//! outcome.rs                what users' closures return
//! panic_guard.rs            calls into users' code, with their panics caught
//! observer.rs               the user's function for events
//! reentry.rs                whether a call comes out of a callback
//! runtime_directory.rs      the directory that systemd made
//! descriptor_kind.rs        what a descriptor is that is not what was asked for
//! calls/                    calls and their answers, on a socket of their own
//!     mod.rs
//!     error.rs              what becomes of a call that gets no answer
//!     message.rs            the two messages on the wire, and their frames (pure)
//!     caller/
//!         mod.rs builder.rs replies.rs async_caller.rs  what users hold
//!         driver.rs         one of the threads that wait drives the connection for all
//!         dial.rs           makes the connection
//!         machine.rs        open calls: queued, sent, answered, given up, lost (pure)
//!     responder/
//!         mod.rs builder.rs call.rs registry.rs  what users hold
//!         worker.rs         a thread: reads calls, and runs their handlers
//!         shared.rs         what the threads share
//!         connection.rs     one connection
//!         machine.rs        its calls: which are open, and what may be answered (pure)
//! address/                  where a stream is
//!     mod.rs bytes.rs error.rs
//!     parse.rs              from what is given to what it names (pure)
//!     tcp.rs                a host and a port
//! arena/                    a writer's memory, as it is found after its death
//!     mod.rs layout.rs ticket.rs
//!     passed.rs             the memory, as it came from another process
//!     frames.rs             what is read of it
//!     recovery.rs           what is still to be delivered (pure)
//! peer.rs                   who a peer is
//! message.rs                what is sent
//! codec.rs                  frames for streams of one's own (pure)
//! wire/                     and how it looks on the wire
//!     mod.rs frame.rs receipt.rs
//! backoff.rs buffer_pool.rs  waits between tries, and buffers for the next time
//! clock.rs deadline.rs      the time now, and moments to end at
//! own_thread.rs             a thread with its fork guard
//! buffer_size.rs            how large the kernel's buffer is to be
//! num.rs                    conversions of numbers
//! atomics.rs                those that the model of the lanes replaces
//! ```
//!
//! # The writer
//!
//! ## From `try_send` to the kernel
//!
//! * A sender frames its message once, at the end of its thread's **lane**: a slot of 128 KiB into
//!   which that thread alone writes, and which the queue reads while the thread goes on. After each
//!   message the thread publishes, by a store of one word, how far it has come. So a send is a copy
//!   and a few plain stores, without a lock and without a locked instruction.
//! * What is published becomes a **block**, a range of the slot: when the thread comes to the end
//!   of its lease or has sent a message of 32 KiB or more, when the writer's thread has nothing
//!   else to write, and when that has left it in the lane for one write already. Nothing is copied
//!   for that. Sealed blocks go through a bounded crossbeam channel to the outbox.
//! * The writer's thread hands what is in the outbox to the kernel with one vectored write. So
//!   neither the queue's lock nor a system call is paid for each message.
//! * What becomes of a block later, a split or a union with the next, moves the ends of ranges.
//! * A message that is handed over, or is too long for a slot, is a block of its own: prefix and
//!   payload as two slices, never copied.
//! * A slot is filled anew once no range of it is left: by the same lane, from its start, where
//!   that was so quick that the lane is still in it.
//!
//! ## Bounds and leases
//!
//! A lane gets a **lease**: a part of the queue's bounds, in advance. It is at most a block, and an
//! even share of what is free (a quarter where there are more than four lanes). A lease ends
//!
//! * when the sender has used it up,
//! * when another sender needs the room,
//! * when the writer's thread goes to sleep,
//! * when the writer is shut down.
//!
//! To end a lease, the queue marks the lane as shut, under its lock, has all processors pass a
//! memory barrier (`membarrier(2)`; elsewhere each send has a barrier of its own), and takes what
//! is in the lane. A sender looks at the mark after each message. If the lane was shut, it finds
//! out from the queue, under the lock, whether that message was taken.
//!
//! Messages of different threads have no order among each other until they leave their lanes.
//! Threads beyond the 64th, and threads that are about to end, write into the queue's open block,
//! under the lock.
//!
//! ## The retry buffer
//!
//! No index of the frames in a block is kept. After a partial write the frames are walked to find
//! the first of which the kernel did not take the last byte. The next connection goes on from
//! there. The outbox is the retry buffer; there is no second one.
//!
//! ## Memory that outlives the process
//!
//! A writer that is [`crash_proof`](super::crash_proof) takes its slots from an **arena**: memory
//! that is passed to the reader. Each block has a **record** in it, two words that say which part
//! of which slot waits, and where that stands among all messages. Whoever sends stores one word
//! more for each message: how far its slot is published. All is stored by the writer, one word
//! after the other, so that its death between any two of them loses nothing and repeats nothing:
//! the simulation dies after each single store, and reads what is left; and real processes are
//! killed before and behind each (`writer/deaths.rs`). Between two stores no fence is needed, since
//! who reads them does so when all threads have ended. See `arena/mod.rs` for the rules.
//!
//! ## What the thread does next
//!
//! Two enums decide it:
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
//! neither.
//!
//! * **After a loss** the next try to connect comes 20 ms later, or after the backoff if that is
//!   longer. A process that dies may lose its connections before its listening socket: a connect at
//!   once would succeed, and what is written would be lost with it.
//! * **Where nobody listens** the thread also watches the directory (`inotify(7)`), and tries again
//!   as soon as a socket comes to the path.
//! * **A full socket** is written to again every 50 ms: Linux reports room only when three quarters
//!   of the buffer are free.
//! * **After a write** the thread lingers for 200 µs, in which no sender has to wake it; when that
//!   brought nothing it sleeps until it is woken.
//! * **A sender wakes** a sleeping thread through an eventfd, for any message. It wakes a lingering
//!   one only for a full block, for a message that finds no room, or in order to wait for room or
//!   for a flush; fewer messages gather meanwhile.
//!
//! ## Receipts
//!
//! With `AtLeastOnce` each connection opens with `80 00`, an empty frame that says so: a reader
//! whose handler fails knows from the first frame on that the message comes again. A block ends
//! with a request for a receipt, and stays in the outbox after it was written, until a receipt
//! covers it. Small blocks of one slot that wait for receipts are united. After a loss all blocks
//! are rewound and sent again, in order.
//!
//! The `AckTracker` knows what was written, read and acknowledged on one connection after the
//! other, and whether a receipt can be true. A call of `flush` looks at the queue and the tracker,
//! and sleeps until either has changed.
//!
//! When a peer takes no more bytes and owes a receipt, the thread still reads its last receipts
//! before it gives the connection up. A reader that refuses a message says so in the last of them,
//! padded by a byte. Where a reader does not say so, with `AtMostOnce`, a connection that ends in
//! the middle of a message makes that message suspect, and the next one probes it: see `outbox.rs`.
//!
//! # The reader
//!
//! ## Workers
//!
//! There is one poller (epoll, elsewhere kqueue), in which every connection is armed for one event.
//! All workers run the same loop: wait for one ready thing, deal with it, arm it again. An idle
//! connection costs no buffer and no thread. The listening socket is one of the ready things: a
//! worker accepts up to 32 connections, then lets the next worker accept before it calls the user's
//! code. So a callback for a new connection holds up that connection only.
//!
//! ## The supervisor
//!
//! The supervisor is a thread that runs none of the user's code, so that none can hold it up. It
//!
//! * closes connections whose time is over: silent ones, and those whose frame comes too slowly;
//! * adds workers where connections wait: one a processor at first, more when no worker has
//!   finished anything for five milliseconds;
//! * closes the slowest connection while half messages hold all the memory that they may;
//! * brings the reader to its end, and keeps the timeout of a shutdown.
//!
//! To close a connection it forbids the peer to send (`shutdown` of the receiving side), and lets a
//! worker handle what is still there. Over TCP that would tell the peer nothing. There the reader
//! says in a receipt, padded by two bytes, that it stops; a peer without receipts is told by the
//! end of the way back. Then it reads on until the peer has ended its side.
//!
//! ## Receipts
//!
//! A peer that requests receipts is told at the end of a turn how many of its messages have been
//! handled. That never blocks: what does not fit waits until there is room, and one number answers
//! all requests before it. When the handler fails and the peer has `AtLeastOnce`, the messages
//! before are confirmed, nothing behind is handled, and the connection is closed. Before the reader
//! closes the connection on a message above its limit it says so in the last receipt.
//!
//! ## Memory
//!
//! Messages are slices of the read buffer, without a copy. Only a message that is spread over two
//! reads gets memory of its own, which grows with the bytes that came; the rest of a long one is
//! read straight into it.
//!
//! # How it is tested
//!
//! The writer's thread runs on a small trait, `Kernel`: the clock, connecting, waiting, and the
//! calls of a socket. In the simulation (`writer/simulation`) a number stands for the clock and
//! runs of bytes for connections; at the other end are the reader's own decoder and receipts. A
//! seed decides what the senders, the reader and chance do. After every step the simulation
//! compares the bounds, the figures, the books and the order with what the simulated kernel and
//! reader know. In the end every message that the promises speak of must have arrived. A failure is
//! cut down to a short history. To run many: `UDS_IPC_HISTORIES=1000000 cargo test --release --lib
//! simulation`.
//!
//! The lanes, which are unsafe code, run under Miri, and their protocol under loom
//! (`writer/lane/model.rs`): the orders in which a sender publishes while the queue ends its lease,
//! and the values that a load may see then, as far as loom knows them. loom knows no barrier that
//! the kernel makes for others; the light fence is a real one there. That leaves the kernel's
//! promise (`membarrier(2)`), on which a test runs the two fences against each other.
//! `model_of_deaths.rs` beside it looks, at each point in those orders, at what a reader would find
//! of a process that died there.
//!
//! `.ci/faults` puts more than eighty faults into the code, one at a time, and expects one of these
//! checks to find each.
//!
//! # Many connections
//!
//! `cargo bench --bench scale` prints what they cost. On two processors that had other work too, in
//! four to six runs each:
//!
//! | | the aim | measured |
//! | --- | --- | --- |
//! | the reader's memory for an idle connection, of 10,000 (the kernel's own share is not in it) | 2 KiB | 342 to 358 bytes |
//! | threads for them | none | none |
//! | a busy connection beside them, of its speed alone | 0.9 | 0.91 to 1.57 |
//! | 1,000 busy connections: what the busiest got of what the least got | 3 | 1.00 to 1.05 |
//! | all of these together, of a single one's speed: two threads serve them, and one a single one | 0.7 | 1.12 to 1.81, and more where the single one's sender was held up |
//! | messages that wait behind 64 connections whose handler blocks for a second, at most | 50 ms | 9 to 29 ms |
