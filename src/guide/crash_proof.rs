//! What a process that dies had to say last, arrives.
//!
//! A writer is a queue in the memory of its process, and that memory ends with the process. With
//! [`crash_proof`](crate::WriterBuilder::crash_proof) it outlives it:
//!
//! ```
//! use uds_ipc::Writer;
//!
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("telemetry.sock");
//! let writer = Writer::builder(&path).crash_proof(true).start()?;
//! # drop(writer);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The queue then stands in a sealed `memfd_create(2)`: this process writes it, and nobody else
//! can. Its descriptor goes along with the first byte of each connection (`SCM_RIGHTS`, see
//! `unix(7)`), so that no byte on the wire is another one. A reader of this crate keeps it, and
//! reads it when the process has died; every other reader leaves it to the kernel, which closes it.
//! The example `last_words` shows it.
//!
//! # Where a message can be at the moment of a death
//!
//! ```text
//!            the writer's process            the kernel           the reader's process
//!  try_send ─▶ lane ─▶ block ─▶ being written ─▶ socket ─▶ read ─▶ handled
//!  │        │                                 │          │
//!  a        b                                 c          d
//! ```
//!
//! | where | without | `crash_proof` |
//! | --- | --- | --- |
//! | a: the send has not returned | lost, or arrives | likewise: as a whole, or not at all |
//! | b: accepted, and the kernel lacks a byte of it | lost | arrives: it is *recovered* |
//! | c: the kernel has its last byte | arrives | arrives |
//! | d: the reader has it | has arrived | has arrived, and does not come again |
//!
//! However the process ends: SIGKILL, the kernel's OOM killer, `abort`, SIGSEGV, `exit`, a return
//! from `main` without [`shutdown`](crate::Writer::shutdown), a `Writer` in a `static`. After a
//! `shutdown` nothing is recovered: what was left is in its report. What is left when the last
//! handle is dropped, as at the end of `main`, and its second is over, is for the reader: when the
//! process has ended, or three seconds later.
//!
//! # What cannot be saved
//!
//! * **Before the first connection**, and while no reader is there, nobody has the memory, unless
//!   [systemd has](#over-a-restart-of-a-service). To keep that time short, `start` waits until it
//!   has tried to connect, for at most 100 ms, and the send of the first message on a connection
//!   until that is written, for at most 10 ms. Both wait for the writer's own thread, and over a
//!   Unix socket take some 50 µs.
//! * **When the reader dies as well**, or is stopped before the writer dies, and no other has
//!   started: the memory ends with the last process that has it, unless that is systemd.
//! * **Where the reader has no descriptor to spare** when a connection begins, it does not get the
//!   memory, and cannot know of what is queued from then on.
//! * **More than 4 GiB** of one writer, and what is above `max_message_len` of the reader.
//! * **A reader that stops** waits for writers that are dead already, and leaves those that live:
//!   they connect to the next one.
//! * **Another user's process**: unless [`recover`](crate::ReaderBuilder::recover) says otherwise,
//!   a reader takes memory from its own user and from root.
//! * **Where memory cannot be passed** all is as without, and the event
//!   [`NotCrashProof`](crate::event::WriterEvent::NotCrashProof) says why, once: another system
//!   than Linux, TCP and pipes, a limit of the size of files (`LimitFSIZE=`) below that of the
//!   queue, a filter of system calls without `memfd_create`, a reader in the same process.
//!
//! # When memory is short
//!
//! What the queue holds counts for the control group of the process that sends, as its other memory
//! does: as `shmem` in `memory.stat`, below `MemoryMax=` (see `systemd.resource-control(5)`). It
//! never counts for the reader's group, whose process only reads it. When the kernel's OOM killer
//! takes the process, what it had accepted arrives, as after any SIGKILL; until the reader is done
//! with it, that memory stays charged to the group of the dead process, or to those above it.
//!
//! A reader is best in a unit of its own. In one group with the writer the kernel may choose it
//! instead, or with `OOMPolicy=kill` take both: and when both die, nothing is saved.
//!
//! # Over a restart of a service
//!
//! systemd keeps descriptors for a service that it restarts (`FDSTORE=1`, see `sd_notify(3)`). With
//! the setting `descriptor_store`, of the same name at both ends, it keeps this memory:
//!
//! | the writer dies | without | `descriptor_store` |
//! | --- | --- | --- |
//! | while its reader is there | the reader recovers | the reader recovers; the writer's next process sees that a reader has the memory, and keeps off |
//! | while the collector restarts | lost | at the [reader](crate::ReaderBuilder::descriptor_store): its next process recovers |
//! | while no reader is there, or before one ever was | lost | at the [writer](crate::WriterBuilder::descriptor_store): its next process sends what was left, ahead of its own |
//! | together with its reader | lost | at the writer: likewise |
//!
//! ```ini
//! # collector.service: one for each writer
//! [Service]
//! Type=notify
//! Restart=always
//! FileDescriptorStoreMax=100
//! ```
//!
//! ```ini
//! # A writer's service. Only its main process may have something stored, unless NotifyAccess=all.
//! [Service]
//! Restart=always
//! FileDescriptorStoreMax=1
//! ```
//!
//! * **A reader that is killed** stores nothing. One that is stopped as planned stores the memory
//!   of each writer that lives, with what it knows of it: whose it is, and which messages have
//!   come. So the next one also knows which messages of a writer that lives on it has had. It
//!   cannot ask the kernel whether a process of the one before has died: it waits for three seconds
//!   once the lock is gone.
//! * **A writer that dies with a connection** which no reader holds any more, such as that of a
//!   reader that dies with it, may have sent what it was writing. With `AtMostOnce` those messages
//!   are left out, and the event [`Inherited`](crate::event::WriterEvent::Inherited) counts them;
//!   with `AtLeastOnce` they come, perhaps again. A writer that had seen the loss knows better, and
//!   leaves out nothing. A connection that a socket unit holds for a collector that has yet to
//!   start is one of these: its next process waits a second for that, and then goes on alone.
//! * **A collector that must stop before it has handled what it recovers** loses the rest: it was
//!   the one to deliver it. Give it time (`TimeoutStopSec=`).
//! * **A `Writer` that is dropped with messages left** keeps its place in the store until the
//!   process ends. `FileDescriptorStoreMax=` must count it; systemd drops what is too much, and
//!   tells nobody but its log.
//! * **A process that dies while it starts** may take what it inherits with it, between its claim
//!   and the end of [`start`](crate::WriterBuilder::start): some milliseconds.
//! * **A service that is stopped** loses what is stored, unless it has
//!   `FileDescriptorStorePreserve=` (systemd 254).
//!
//! # What the reader sees
//!
//! What is recovered comes as a connection of its own, after all that came by the socket: a number
//! of its own, the dead process's credentials, and [`Peer::recovered`](crate::Peer::recovered).
//! Each thread's messages are in order. The peer check is asked as for any connection. When all is
//! handled, [`Recovered`](crate::event::ReaderEvent::Recovered) tells how much it was, and the
//! figure `recovered` counts it. On that connection an error of the handler costs the message,
//! since nobody is left to send it again; it is counted.
//!
//! It is recovered once, whoever has the memory: who does claims it before, by a seal
//! (`F_SEAL_SEAL`, see `fcntl(2)`), of which the kernel adds no second one.
//!
//! A writer counts as dead when its connection is over, and nobody holds the lock that its process
//! had (`F_SETLK`, see `fcntl(2)`), and the kernel says that the process is gone (`SO_PEERPIDFD`,
//! Linux 6.5). Where the kernel does not say that, or says that it lives though the lock is gone,
//! as after `exec`, the reader waits for three seconds more.
//!
//! # With `AtLeastOnce`
//!
//! What a receipt covers is never recovered, and what was not confirmed is. Beside that the reader
//! knows which messages it has had: after a lost connection it does not give its handler what it
//! had handled already, as long as its own process lives. The figure `repeated` counts those. Two
//! exceptions are as without: with [`DropOldest`](crate::Overflow::DropOldest), where numbers
//! change; and where the old connection is still being read when the new one comes, as after a
//! write timeout.
//!
//! # What it costs
//!
//! * The speed is the same, within what can be measured: see [the page on speed](super::speed).
//! * A `Vec` or a `Bytes` that is handed over is copied.
//! * The writer has one descriptor more, the reader one for each connection, and two for a writer
//!   whose connection it has closed for silence. They count against the limit of descriptors
//!   (`LimitNOFILE=`).
//! * While nothing is sent, and nothing waits: 16 KiB in the writer after one message, and some 220
//!   bytes for each connection in the reader (of 1,000; `cargo bench --bench idle`).
//! * Address space: twice `max_queued_bytes`, and some 16 MiB. What was never used takes no memory.
//!   What was used is kept for the next time; a writer that is quiet gives it back, if it is more
//!   than 4 MiB, as soon as it has a connection on which it has sent nothing: after the reader's
//!   `idle_timeout`, 10 s unless set. Of 40 MB that had waited it kept 4 KiB then.
//! * A child made by `fork` does not have the memory: it cannot send, as without. One that lives on
//!   has the connection, though: what its parent left is handled once that is over, by the child's
//!   end or the reader's `idle_timeout`.
