//! Where the time goes: the path of a message with what each step costs, the design that follows
//! from it, and what to turn.
//!
//! All figures are from one machine with two processors (AMD EPYC of 2025, virtual, Linux 6.18),
//! and vary by a tenth from run to run there, and at times by more. What counts are the ratios; to
//! see your own, run `uds-ipc bench`.
//!
//! # The path of 100 bytes
//!
//! With one sender that sends as fast as it can, a message of 100 bytes takes about 44 ns of
//! processor time, on all threads of both processes together, and two processors carry
//! 37 to 54 million of them a second. The same bytes without frames, in blocks of 128 KiB between
//! two processes, take 20 to 24 ns: those are the kernel's.
//!
//! | step | ns | why it is so |
//! | --- | --- | --- |
//! | the sender looks up its thread's lane, checks the lease, writes the length | 2 | two loads that no other processor disturbs |
//! | it copies the message behind the last one | 2 to 3 | from its cache into its cache, unless the queue is larger than that |
//! | it publishes how far it came, and looks whether the lane was shut | 1 | plain stores, and a barrier that only the other side pays for |
//! | each 128 KiB: a lock, a full block to the writer's thread, other memory for the lane | below 0.5 | some 600 ns for 1,300 messages |
//! | the kernel copies the block into its own memory, for 256 KiB a call | 10 to 15 | 10 when a sender who waits for room writes by itself, 15 when the thread does: then it comes from the other processor's cache |
//! | the kernel copies it to the reader, up to 256 KiB a call | 9 | |
//! | the reader finds the frame and calls the handler | 4 to 5 | one look at the length, no copy, no lock |
//! | waking threads, changing between them, looking for more before sleeping | 5 to 10 | |
//!
//! Of 16 bytes some 57 million pass in a second: there the kernel's part is 5 ns of 28. Of 1 KiB it
//! is 5.5 million, and nine tenths of their 300 ns are copies.
//!
//! # What follows from it
//!
//! * **No lock and no locked instruction in a send.** One of the latter is 5 ns on that machine; a
//!   lock is two. Each thread has a lane that it alone writes to. Before, a send cost 25 to 30 ns;
//!   with a channel of `Vec<u8>` it is an allocation and several locked instructions, which makes
//!   170 to 250 ns of processor time for the whole way. The lock is still taken for the first
//!   message after the thread has slept, which wakes it; by owned messages from 8 KiB on, borrowed
//!   ones from 16 KiB on, and write slots; when the queue is nearly full, or smaller than 32
//!   messages; and by threads beyond the 64th. Where there is no `membarrier(2)`, a send has a
//!   barrier of its own, which costs as much as one locked instruction.
//! * **Few threads are woken.** A system call that wakes a thread costs its caller 2 µs. After a
//!   batch the thread lingers for 200 µs, and senders need not wake it: at 10,000 messages a second
//!   a send takes 50 ns, of which the clock that measures it is 30, and one that wakes 2,200. Below
//!   5,000 a second each message finds the thread asleep and does wake it, unless the
//!   [`linger`](crate::WriterBuilder::linger) is longer.
//! * **Few, large calls.** 128 KiB a block and 256 KiB a call were the fastest that were tried (32
//!   to 128, 128 and 256); a quarter of that lost a fifth.
//! * **No allocation.** Blocks, read buffers and the buffers of write slots are used again. Up to 4
//!   KiB a message asks for no heap memory at either end, in both modes of delivery
//!   (`tests/allocations.rs`).
//! * **Large messages are not copied.** An owned one of 8 KiB and more is written from where it
//!   lies. At 10 KiB that is 1.6 to 1.8 times as fast as the copy.
//! * **Senders that wait are woken late, and one at a time**: when half of the queue is free, or
//!   all of them when the thread has nothing more to do.
//! * **Under load a sender writes.** One that waits for room takes the thread's place for a call:
//!   it has the bytes in its cache, and no thread has to be woken. With leases that share what is
//!   free evenly that made 100 bytes 1.3 times as fast, and 1 KiB 1.2 times. Several senders that
//!   wait leave it to the thread.
//!
//! What was tried and did not help: smaller or larger reads, giving the processor away before a
//! reader waits for more, touching a block before it is written, link-time optimisation. What would
//! help and is not done: the kernel can take the pages of a block instead of its bytes
//! (`vmsplice(2)`, `splice(2)`), which took a quarter less time than the bare socket. But a reader
//! may pass such pages on with `splice(2)`, and nobody tells when it is done with them; a block
//! that is used again would change messages under its eyes. Memory that is never used again
//! costs as much as the copy.
//!
//! # What to turn
//!
//! * **For throughput**: a [`max_queued_bytes`](crate::WriterBuilder::max_queued_bytes) that fits a processor's
//!   cache, from 1 to 2 MiB, when senders are faster than the reader for long: a queue of 64 MiB
//!   that is full holds memory that no cache has any more. At 1 KiB this is 1.3 times as fast.
//!   Owned messages from 8 KiB on. Handlers that do not wait. Messages of different threads need no
//!   common lock: four senders together are nearly as fast as one.
//! * **For latency**: a [`linger`](crate::WriterBuilder::linger) of zero. A message then wakes the
//!   thread, and is on its way for some 50 µs instead of up to 200 and more; its send costs 2 to 4
//!   µs instead of 50 ns. [`flush`](crate::Writer::flush) sends what waits at once.
//! * **For memory**: a writer that has sent little keeps about 130 KiB of its own, most of it for
//!   its queue's slots: 16 bytes for each 8 KiB of
//!   [`max_queued_bytes`](crate::WriterBuilder::max_queued_bytes). Each thread that sends keeps 4 KiB, and up
//!   to 128 KiB if it sends much. After much work nine blocks of 128 KiB stay besides, until the
//!   writer is dropped.
//! * **For processors that sleep**: nothing. While nothing is sent, neither end wakes up within the
//!   reader's [`idle_timeout`](crate::ReaderBuilder::idle_timeout): 0 times in 10 s (`cargo bench
//!   --bench idle`). When that is over the connection is closed, and the writer makes a new one.
//!   Where even that is too often, set a longer one; with a
//!   [`keepalive`](crate::WriterBuilder::keepalive) it is once in that time.
//! * **At least once** costs up to a fifth at 100 bytes: questions, receipts, and blocks that wait
//!   for them.
//!
//! # Measuring
//!
//! `uds-ipc bench` measures on your machine, and says what the bare socket and a hand-written
//! sender do in the same rounds. `cargo bench` has a benchmark for each step: `WriteOnly` the send
//! alone, `ReadOnly` the reader alone with a socket that was filled before, `decoder` the frames
//! alone, `ReaderWriter` all of it, `HandlerLatency` the way of one message, `memory` allocations,
//! `idle` what is spent on nothing, `receipts` what at least once costs, `scale` thousands of
//! connections.
