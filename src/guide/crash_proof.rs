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
//! * **Before the first connection**, and while no reader is there, nobody has the memory. To keep
//!   that time short, `start` waits until it has tried to connect, for at most 100 ms, and the send
//!   of the first message on a connection until that is written, for at most 10 ms. Both wait for
//!   the writer's own thread, and over a Unix socket take some 50 µs.
//! * **When the reader dies as well**, or is stopped before the writer dies, and no other has
//!   started: the memory ends with the last process that has it.
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
//! * The writer has one descriptor more, the reader one for each writer, and two while the writer
//!   is quiet. They count against the limit of descriptors (`LimitNOFILE=`).
//! * Address space: twice `max_queued_bytes`, and some 16 MiB. What was never used takes no memory.
//!   What was used is kept for the next time; a writer that is quiet gives it back, if it is more
//!   than 4 MiB, as soon as it has a connection on which it has sent nothing: after the reader's
//!   `idle_timeout`, 10 s unless set.
//! * A child made by `fork` does not have the memory: it cannot send, as without. One that lives on
//!   has the connection, though: what its parent left is handled once that is over, by the child's
//!   end or the reader's `idle_timeout`.
