//! Where the time goes: what each step of a message costs, the design that follows from it, and
//! which settings to change.
//!
//! All figures are from one machine with two processors (AMD EPYC of 2025, virtual, Linux 6.18).
//! They vary by a tenth from run to run there, at times by more. The ratios are what counts;
//! `uds-ipc bench` measures on your machine.
//!
//! # The path of 100 bytes
//!
//! With one sender that sends as fast as it can, a message of 100 bytes takes 26 ns of processor
//! time, on all threads of both processes together, and two processors carry 64 million of them a
//! second, where a cache line goes from one to the other and back in 76 ns. Where they are farther
//! from each other it is more. The steps below were measured when it took 41 to 44 ns. The same
//! bytes without frames, in blocks of 128 KiB between two processes, took 20 to 24 ns then: that is
//! the kernel's part.
//!
//! | step | ns | why it is so |
//! | --- | --- | --- |
//! | the sender finds its thread's lane, checks the lease, writes the length | 2 | two loads that no other processor disturbs |
//! | it copies the message behind the last one | 2 to 3 | from its cache into its cache, unless the queue is larger than the cache |
//! | it publishes how far it has come, and looks whether the lane was shut | 1 | plain stores, and a memory barrier that only the other side pays for |
//! | each 128 KiB: a lock, a full block to the writer's thread, other memory for the lane | below 0.5 | some 600 ns for 1,300 messages |
//! | the kernel copies the block into its own memory, for 256 KiB a call | 9 to 12 | the block comes from the cache of the sender's processor |
//! | the kernel copies it to the reader, up to 256 KiB a call | 6 to 9 | |
//! | the reader parses the length and calls the handler | 4 to 5 | no copy, no lock |
//! | waking threads, switching between them | 6 to 10 | |
//!
//! Of 16 bytes 68 million passed in a second then, for 23 ns each: a copy in the kernel is little
//! there, and waking and switching between threads a fifth. Of 1 KiB 4.8 million passed, and nine
//! tenths of their 320 ns were copies.
//!
//! # What follows from it
//!
//! * **No lock and no locked instruction in a send.** On that machine a locked instruction takes 5
//!   ns, and a lock has two. So each thread has a lane into which it alone writes. With the lock a
//!   send took 25 to 30 ns. A channel of `Vec<u8>` costs an allocation and several locked
//!   instructions: 170 to 250 ns of processor time for the whole way. A send still takes the lock
//!   * for the first message after the writer's thread has slept, which wakes it,
//!   * for messages from 32 KiB on, and a `Bytes` from 16 KiB on,
//!   * when the queue is nearly full, or smaller than 32 messages or four times the message,
//!   * on threads beyond the 64th.
//!
//!   Where there is no `membarrier(2)`, each send has a memory barrier of its own, which costs as
//!   much as one locked instruction.
//! * **Threads are seldom woken.** A system call that wakes a thread costs its caller 2 µs. After a
//!   write the writer's thread lingers for 200 µs, in which senders need not wake it. At 10,000
//!   messages a second a send takes no more than the clock that measures it, 30 ns; one that wakes
//!   takes 1,800 ns. Below 5,000 a second each message finds the thread asleep and wakes it, unless
//!   the [`linger`](crate::WriterBuilder::linger) is longer.
//! * **Few, large calls.** Blocks of 128 KiB and calls of 256 KiB were the fastest that were tried
//!   (blocks of 32 to 128, calls of 128 and 256); with a quarter of that the speed was a fifth
//!   lower.
//! * **No allocation.** Blocks, read buffers and the buffers of encoders are used again. Up to 4
//!   KiB a message asks for no heap memory at either end, with `AtMostOnce` and with `AtLeastOnce`
//!   (`tests/allocations.rs`).
//! * **A copy is cheap, memory that is in no cache is dear.** Up to 120 KiB a message is copied
//!   into the slot of its thread, which is used again while it is warm. When vectors were handed
//!   over from 8 KiB on, and slices copied to the heap from 16 KiB on, the same loops were slower:
//!   at 10 KiB 0.85 of the speed with vectors, at 20 to 100 KiB 0.8 to 0.9 with both. Memory that
//!   is handed over comes back late, and from another thread. A `Bytes` is another matter: what is
//!   shared is warm, and from 16 KiB on it is written from where it lies.
//! * **Nothing is copied again.** What the queue takes of a slot, splits, or puts together is a
//!   range of it.
//! * **Senders that wait for room are woken late**: when half of the queue is free, or the thread
//!   has nothing more to write.
//!
//! What was tried and did not help:
//!
//! * smaller or larger reads,
//! * giving the processor away before a reader waits for more,
//! * a reader that looks for more before it sleeps,
//! * waking senders that wait for room one at a time,
//! * touching a block before it is written,
//! * link-time optimisation.
//!
//! One thing would help and is not done: the kernel can take the pages of a block instead of its
//! bytes (`vmsplice(2)`, `splice(2)`), which took a quarter less time than the raw socket. But a
//! reader may pass such pages on with `splice(2)`, and nothing tells the writer when the last user
//! of them is done. A block that is used again would change messages that are still being read.
//! Memory that is never used again costs as much as the copy.
//!
//! # What the queue costs
//!
//! A sender that frames messages into one piece of 128 KiB, and writes that itself when it is full
//! ("staged"), has its bytes in its own cache all the way, and switches to nobody but the reader.
//! But it stands still while the reader does. A queue and a thread that drains it are what lets a
//! send return at once, and they cost something for all but short messages: the bytes are written
//! by one thread and read by another, often on another processor, and three threads share two
//! processors. The least that this can cost is measured beside: the same pieces, handed through a
//! channel to a thread that only writes them ("handed"). In one run of `cargo bench --bench plain
//! -- queue=4194304 times=2`, of staged:
//!
//! | length | handed | a `Writer` | processor time handed | a `Writer` |
//! | --- | --- | --- | --- | --- |
//! | 100 B | 0.98 | 1.25 | 1.10 | 0.88 |
//! | 1 KiB | 0.72 | 0.82 | 1.40 | 1.25 |
//! | 10 KiB | 0.70 | 0.87 | 1.40 | 1.23 |
//! | 100 KiB | 0.77 | 0.83 | 1.30 | 1.29 |
//!
//! What is above staged in processor time there is in the kernel: at 10 KiB a profile has two
//! thirds of it in the two copies, which find their bytes in another cache, and a quarter where
//! threads are woken. The size of the queue changes nothing of it between 256 KiB and 4 MiB: a
//! smaller one is warmer, and wakes more often. Nor do senders that write themselves while they
//! would wait: 0.81 to 0.95 in a prototype, where a `Writer` had 0.83 to 0.88. Where the processors
//! are near each other and nothing else runs, it is less: see the table [below](#measuring). Beside
//! other work, and where they are far (a cache line there and back in 430 to 480 ns), three runs of
//! `uds-ipc bench` had 0.81 at 1 KiB, 0.69 to 0.80 at 10 KiB and 0.71 to 0.76 at 100 KiB.
//!
//! # Which settings to change
//!
//! * **For throughput**:
//!   * a [`max_queued_bytes`](crate::WriterBuilder::max_queued_bytes) that fits a processor's
//!     cache, from 1 to 2 MiB, when senders are faster than the reader for long. A full queue of 64
//!     MiB holds memory that is in no cache any more. At 1 KiB this is 1.3 times as fast, and from
//!     10 KiB on 1.6 times (`cargo bench --bench plain`);
//!   * a shared `Bytes` for messages from 16 KiB on, where the same bytes go to several places;
//!   * handlers that do not wait.
//!
//!   Threads that send share no lock: on two processors four together reach 0.8 of the speed of
//!   one.
//! * **For latency**: a [`linger`](crate::WriterBuilder::linger) of zero. Each message then wakes
//!   the thread. It is on its way for some 30 to 50 µs instead of 160 and more, and its send costs
//!   2 µs instead of 30 ns. [`flush`](crate::Writer::flush) sends what waits at once.
//! * **For memory**: a writer that has sent little keeps about 130 KiB, most of it for its queue's
//!   places: 16 bytes for each 8 KiB of
//!   [`max_queued_bytes`](crate::WriterBuilder::max_queued_bytes). Each thread that sends has a
//!   slot of 128 KiB, of which the system gives the pages that were written to: one or two if it
//!   sends little. After much work eight more stay besides, until the writer is dropped. Messages
//!   of 64 to 120 KiB have a slot each: a queue of them takes up to twice their bytes.
//! * **For processors that sleep**: nothing. While nothing is sent, neither end wakes up within the
//!   reader's [`idle_timeout`](crate::ReaderBuilder::idle_timeout): 0 times in 10 s (`cargo bench
//!   --bench idle`). After that time the reader closes the connection, and the writer makes a new
//!   one. Where even that is too often, set a longer `idle_timeout`. With a
//!   [`keepalive`](crate::WriterBuilder::keepalive) both ends wake up once in that time.
//! * **`AtLeastOnce`** costs up to a fifth at 100 bytes: requests, receipts, and blocks that wait
//!   for them.
//! * **A receiver of batches** is 0.84 to 0.98 as fast as a handler at 100 bytes, 0.9 on average
//!   (`cargo bench --bench receipts`): what is handed to another thread is in another processor's
//!   cache. A receiver that has work to do for each message has a processor for it, which a handler
//!   shares with the reading.
//!
//! # Measuring
//!
//! `uds-ipc bench` measures on your machine: the throughput, the processor time, what a `try_send`
//! costs its caller, and how long a message is on its way. It measures three others in the same
//! rounds: the raw socket (the kernel's limit), a sender that frames messages into large pieces and
//! writes them itself, without a queue and a second thread ("staged"), and a sender as one writes
//! it by hand (a crossbeam channel of `Vec<u8>`, and a thread with a `BufWriter`). Each speed is
//! the median of at least seven rounds between two processes; every message is received and
//! touched, and the spread stands beside the median. `--stream unix,tcp,pipe` measures all of it
//! over TCP within the machine and over a pipe too, beside the Unix socket. `--json` prints one
//! object, `--plot FILE.svg` draws a picture.
//!
//! The picture in `benches/throughput.svg` is of `uds-ipc bench --seconds 90 --plot
//! benches/throughput.svg` on a virtual machine with two processors, between which a cache line
//! went there and back in 76 ns. The table has the medians of 23 rounds of that run. From run to
//! run they vary by a tenth; where the processors are farther from each other all are lower, down
//! to the half. Single rounds vary by much more. The writer is given slices; the hand-written
//! sender makes a vector for each message, as it must.
//!
//! | length | messages a second | of the raw socket | of staged | times the hand-written sender | its processor time, times ours |
//! | --- | --- | --- | --- | --- | --- |
//! | 16 B | 150 million | 0.26 | 1.66 | 13 | 12 |
//! | 100 B | 64 million | 0.66 | 1.04 | 10 | 9.6 |
//! | 1 KiB | 8.3 million | 0.87 | 0.91 | 5.8 | 5.4 |
//! | 10 KiB | 0.91 million | 0.95 | 0.97 | 4.9 | 4.5 |
//! | 100 KiB | 0.085 million | 0.86 | 0.88 | 1.5 | 1.3 |
//!
//! When four threads send, messages of 100 bytes pass at 0.79 to 0.82 of the speed of one thread:
//! six threads share two processors then. Pieces that four threads hand to one that writes
//! ("handed", above) pass at 0.9 of those of one thread, and at three quarters of the speed of a
//! `Writer` that has four. With the
//! default settings `cargo bench --bench plain` does the same in a plain loop. `cargo bench`, with
//! a counterpart to each benchmark of the Go library, has one for each step:
//!
//! | benchmark | what it measures |
//! | --- | --- |
//! | `WriteOnly` | the send alone |
//! | `ReadOnly` | the reader alone, with a socket that was filled before |
//! | `decoder` | the frames alone |
//! | `ReaderWriter` | all of it |
//! | `HandlerLatency` | the way of one message |
//! | `memory` | allocations |
//! | `idle` | what is spent while nothing is sent |
//! | `receipts` | what `AtLeastOnce` costs |
//! | `scale` | thousands of connections |
