//! Several threads share one writer, and send in three ways. The handler proves that each thread's
//! order is kept.
//!
//! ```text
//! cargo run --release --example multi_threaded -- 4 1000000
//! cargo run --release --example multi_threaded -- 4 1000000 tcp:127.0.0.1:0
//! ```
//!
//! The arguments are the threads (4 unless given), the messages of each (250,000 unless given) and
//! the address (a path of its own unless given): a path, `@NAME` or `tcp:HOST:PORT`. It is no
//! `fd:N` and no `-`, which are one end of a stream: both ends are here.

#![expect(
    clippy::disallowed_methods,
    reason = "the throughput is taken by the clock"
)]
#![expect(clippy::expect_used, reason = "nothing panics while it holds the lock")]
#![expect(
    clippy::print_stdout,
    reason = "the result is what this program is run for"
)]

use std::env;
use std::error::Error;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use uds_ipc::{Reader, Writer};

type AnyError = Box<dyn Error + Send + Sync>;

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A message: the number of its thread, then its own number in that thread, each in eight bytes.
const LEN: usize = 16;

fn main() -> Result<(), AnyError> {
    let mut args = env::args_os().skip(1);
    let mut number = |default| {
        args.next()
            .map_or(Ok(default), |arg| arg.to_string_lossy().parse::<u64>())
    };
    let (threads, messages) = (number(4)?, number(250_000)?);

    let progress = Arc::new(Progress(Mutex::new(vec![0; usize::try_from(threads)?])));
    let checker = Arc::clone(&progress);
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("telemetry.sock");
    let address = args.next().unwrap_or(path.into());
    if address == "-" || address.as_encoded_bytes().starts_with(b"fd:") {
        return Err("ADDRESS must be a path, @NAME or tcp:HOST:PORT: both ends are here".into());
    }
    let reader = Reader::builder(address)
        .bind()?
        .start(move |message| checker.check(message))?;

    let start = Instant::now();
    // At port 0 the reader knows which it got.
    let writer = Writer::start(reader.address())?;
    // A scope lends the writer to its threads; threads that outlive their caller would have a clone
    // each.
    thread::scope(|scope| {
        let send = |thread| send_all(&writer, thread, messages);
        let senders: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || send(thread)))
            .collect();
        senders
            .into_iter()
            .try_for_each(|sender| sender.join().expect("a sender does not panic"))
    })?;
    let sent = writer.shutdown(PATIENCE)?.metrics;
    let read = reader.shutdown(PATIENCE)?.metrics;
    let micros = start.elapsed().as_micros().max(1);

    let (accepted, received) = (sent.accepted.messages, read.received.messages);
    println!(
        "{threads} threads with {messages} messages each: {accepted} accepted, {received} received"
    );
    println!(
        "{} messages a second",
        u128::from(received) * 1_000_000 / micros
    );
    if read.handler_errors > 0 || !progress.is_at(messages) {
        return Err("messages were lost, or came twice or out of order".into());
    }
    println!("the messages of each thread arrived in order, each of them once");
    Ok(())
}

/// Sends the messages of one thread, every third in the same way.
fn send_all(writer: &Writer, thread: u64, messages: u64) -> Result<(), AnyError> {
    for number in 0..messages {
        match number % 3 {
            // Borrowed: copied into the queue. A full queue slows this thread down.
            0 => {
                let mut message = [0; LEN];
                fill(&mut message, thread, number);
                writer.send_timeout(&message, PATIENCE)?;
            }
            // Owned: small ones are copied too, large ones handed over as they are. An error would
            // give it back.
            1 => {
                let mut message = vec![0; LEN];
                fill(&mut message, thread, number);
                writer.send_timeout(message, PATIENCE)?;
            }
            // Written by an encoder, into a buffer that the thread uses again. One that fails sends
            // nothing.
            _ => writer.send_timeout_with(
                |buffer| {
                    buffer.resize(LEN, 0);
                    fill(buffer, thread, number);
                },
                PATIENCE,
            )?,
        }
    }
    Ok(())
}

fn fill(message: &mut [u8], thread: u64, number: u64) {
    let (first, second) = message.split_at_mut(LEN / 2);
    first.copy_from_slice(&thread.to_le_bytes());
    second.copy_from_slice(&number.to_le_bytes());
}

/// How many messages of each thread have come, all of them in order.
struct Progress(Mutex<Vec<u64>>);

impl Progress {
    fn check(&self, message: &[u8]) -> Result<(), AnyError> {
        let (thread, number) = message
            .split_at_checked(LEN / 2)
            .ok_or("a message is too short")?;
        let thread = usize::try_from(u64::from_le_bytes(thread.try_into()?))?;
        let number = u64::from_le_bytes(number.try_into()?);
        let mut counts = self
            .0
            .lock()
            .expect("nothing panics while it holds the lock");
        let count = counts.get_mut(thread).ok_or("there is no such thread")?;
        if number != *count {
            return Err(
                format!("thread {thread}: message {number} came in place of {count}").into(),
            );
        }
        *count += 1;
        Ok(())
    }

    /// Whether all of each thread's messages have come.
    fn is_at(&self, messages: u64) -> bool {
        self.0
            .lock()
            .expect("nothing panics while it holds the lock")
            .iter()
            .all(|count| *count == messages)
    }
}
