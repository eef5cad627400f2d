//! What a user's program gets, beside the most that the kernel gives: a plain loop that sends to
//! another process, with default settings, nobody pinned to a processor, nothing warmed up.
//!
//! * *raw*: pieces of 128 KiB, without frames;
//! * *staged*: the sender itself frames each message into a piece of 128 KiB and writes that when
//!   it is full. It has no queue: it stands still while the reader does;
//! * *borrowed*, *owned*, *shared*: a `Writer` that is handed a slice, a new `Vec<u8>`, or a clone
//!   of one `Bytes`;
//! * *proof*: as *borrowed*, and what is queued outlives the process;
//! * *batched*: as *borrowed*, and the reader's handler is given whole batches.
//!
//! ```text
//! cargo bench --bench plain                  # or with lengths: -- 100 10240
//! cargo bench --bench plain -- queue=4194304 # with other bounds than the default of 64 MiB
//! cargo bench --bench plain -- only=borrowed,proof threads=4 times=4
//! ```
//!
//! All take turns, in rounds. A figure is the median of them; a ratio is the median of the rounds'
//! ratios. `cpu` is the processor time of both processes.

#![expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a plain program that measures, and prints what it found"
)]

use std::env;
use std::error::Error;
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::mem;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use integer_encoding::VarInt;
use nix::sys::resource::{UsageWho, getrusage};
use parking_lot::Mutex;
use socket2::SockRef;
use uds_ipc::{Batch, IntoMessage, Reader, Writer};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const SIZES: [usize; 5] = [16, 100, 1024, 10 * 1024, 100 * 1024];
const CONTENDERS: [&str; 8] = [
    "raw", "staged", "handed", "borrowed", "owned", "shared", "proof", "batched",
];
const PIECE: usize = 128 * 1024;
const WAITING: usize = 32;
const ROUNDS: usize = 11;
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> Outcome {
    let args: Vec<_> = env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if let [role, contender, path, messages, bytes] = &args[..] {
        if role == "receive" {
            return receive(
                contender,
                Path::new(path),
                messages.parse()?,
                bytes.parse()?,
            );
        }
    }
    let is_test = args.iter().any(|arg| arg == "--test");
    let lens: Vec<usize> = args.iter().filter_map(|arg| arg.parse().ok()).collect();
    let lens = if lens.is_empty() {
        SIZES.to_vec()
    } else {
        lens
    };
    let rounds = if is_test { 1 } else { ROUNDS };
    let given = |name: &str| args.iter().find_map(|arg| arg.strip_prefix(name));
    let setting = Setting {
        queue: given("queue=").map(str::parse).transpose()?,
        threads: given("threads=").map_or(Ok(1), str::parse)?,
    };
    let times: usize = given("times=").map_or(Ok(1), str::parse)?;
    let only = given("only=").map(|names| names.split(',').collect::<Vec<_>>());
    let is_wanted = |name: &&str| only.as_ref().is_none_or(|only| only.contains(name));
    let contenders: Vec<_> = CONTENDERS.into_iter().filter(is_wanted).collect();
    println!(
        "bytes     contender     M/s   cpu s/M   of raw   of staged   cpu of staged   of borrowed   cpu of borrowed"
    );
    for len in lens {
        let bytes = if is_test { 1 << 20 } else { 64 << 20 } * if len >= 1024 { 16 } else { 4 };
        let count = (times * bytes / (len + 32)).max(1);
        let mut turns: Vec<Vec<Turn>> = contenders.iter().map(|_| Vec::new()).collect();
        for round in 0..rounds {
            for at in 0..contenders.len() {
                // Not always in the same order.
                let at = (at + round) % contenders.len();
                turns[at].push(measure(contenders[at], len, count, setting)?);
            }
        }
        for (name, turn) in contenders.iter().zip(&turns) {
            let rate = median(turn.iter().map(|turn| turn.rate));
            let cpu = median(turn.iter().map(|turn| turn.cpu));
            let of = |other: &str, what: fn(&Turn) -> f64| {
                let Some(other) = contenders.iter().position(|name| *name == other) else {
                    return f64::NAN;
                };
                let pairs = turn.iter().zip(&turns[other]);
                median(pairs.map(|(one, other)| what(one) / what(other)))
            };
            println!(
                "{len:>6}    {name:<9} {:>7.3}   {:>7.4}   {:>6.3}   {:>9.3}   {:>13.2}   {:>11.3}   {:>15.2}",
                rate / 1e6,
                cpu * 1e6,
                of("raw", |turn| turn.rate),
                of("staged", |turn| turn.rate),
                of("staged", |turn| turn.cpu),
                of("borrowed", |turn| turn.rate),
                of("borrowed", |turn| turn.cpu),
            );
        }
    }
    Ok(())
}

/// What holds for all turns.
#[derive(Clone, Copy)]
struct Setting {
    /// The bound of the queue in bytes.
    queue: Option<usize>,
    /// How many threads send.
    threads: usize,
}

/// Messages a second, and processor seconds a message.
struct Turn {
    rate: f64,
    cpu: f64,
}

fn measure(contender: &str, len: usize, count: usize, setting: Setting) -> Outcome<Turn> {
    let count = count / setting.threads * setting.threads;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("socket");
    let message = vec![b'm'; len];
    let frame_len = len.required_space() + len;
    let mut child = Command::new(env::current_exe()?)
        .args(["receive", contender])
        .arg(&path)
        .args([count.to_string(), (count * frame_len).to_string()])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut said = child
        .stdout
        .take()
        .ok_or("the child has no standard output")?;
    let mut word = [0];
    said.read_exact(&mut word)?;
    let (begun, cpu) = (Instant::now(), cpu()?);
    let mut left = None;
    match contender {
        "raw" => {
            let mut socket = connect(&path)?;
            let piece = vec![b'm'; PIECE];
            for from in (0..count * frame_len).step_by(PIECE) {
                socket.write_all(&piece[..PIECE.min(count * frame_len - from)])?;
            }
        }
        "staged" => stage(connect(&path)?, &message, count)?,
        "handed" => hand(connect(&path)?, &message, count, setting.threads)?,
        _ => {
            let mut builder = Writer::builder(&path).crash_proof(contender == "proof");
            if let Some(bytes) = setting.queue {
                builder = builder.max_queued_bytes(bytes);
            }
            let writer = builder.start()?;
            let threads = setting.threads;
            match contender {
                "owned" => send_all(&writer, count, threads, || message.clone())?,
                "shared" => {
                    let message = Bytes::from(message);
                    send_all(&writer, count, threads, || message.clone())?;
                }
                _ => send_all(&writer, count, threads, || &message[..])?,
            }
            left = Some(writer);
        }
    }
    said.read_exact(&mut word)?;
    let taken = begun.elapsed().as_secs_f64();
    if let Some(writer) = left {
        let _ = writer.shutdown(PATIENCE)?;
    }
    child.wait()?;
    let cpu = self::cpu()? - cpu;
    let count = count as f64;
    Ok(Turn {
        rate: count / taken,
        cpu: cpu / count,
    })
}

/// With the send buffer that a `Writer` has.
fn connect(path: &Path) -> Outcome<UnixStream> {
    let socket = UnixStream::connect(path)?;
    SockRef::from(&socket).set_send_buffer_size(212_992)?;
    Ok(socket)
}

/// Frames each message into one piece, and writes the piece when it is full.
fn stage(mut socket: UnixStream, message: &[u8], count: usize) -> Outcome {
    let mut piece = Vec::with_capacity(PIECE + message.len() + 10);
    for _ in 0..count {
        frame_into(&mut piece, message);
        if piece.len() >= PIECE {
            socket.write_all(&piece)?;
            piece.clear();
        }
    }
    Ok(socket.write_all(&piece)?)
}

/// Frames each message into a piece of its thread, and hands the piece to a thread that writes it.
fn hand(mut socket: UnixStream, message: &[u8], count: usize, threads: usize) -> Outcome {
    let (full, to_write) = mpsc::sync_channel::<Vec<u8>>(WAITING);
    let written = Mutex::new(Vec::new());
    let write = || {
        for mut piece in to_write {
            socket.write_all(&piece)?;
            piece.clear();
            written.lock().push(piece);
        }
        Ok::<_, io::Error>(())
    };
    let new = || Vec::with_capacity(PIECE + message.len() + 10);
    let next = || written.lock().pop().unwrap_or_else(new);
    let send = |full: mpsc::SyncSender<_>| {
        let mut piece = next();
        for _ in 0..count / threads {
            frame_into(&mut piece, message);
            if piece.len() >= PIECE {
                full.send(mem::replace(&mut piece, next()))?;
            }
        }
        full.send(piece)
    };
    thread::scope(|scope| {
        let writing = scope.spawn(write);
        let senders: Vec<_> = (1..threads)
            .map(|_| {
                let full = full.clone();
                scope.spawn(|| send(full))
            })
            .collect();
        send(full)?;
        for sender in senders {
            sender.join().map_err(|_| "a sender panicked")??;
        }
        Ok(writing
            .join()
            .map_err(|_| "the writing thread panicked")??)
    })
}

fn frame_into(piece: &mut Vec<u8>, message: &[u8]) {
    let message = black_box(message);
    let mut prefix = [0; 10];
    let prefix_len = message.len().encode_var(&mut prefix);
    piece.extend_from_slice(&prefix[..prefix_len]);
    piece.extend_from_slice(message);
}

fn send_all<M: IntoMessage>(
    writer: &Writer,
    count: usize,
    threads: usize,
    message: impl Fn() -> M + Sync,
) -> Outcome {
    let send = || {
        (0..count / threads).all(|_| {
            writer.try_send(message()).is_ok() || writer.send_timeout(message(), PATIENCE).is_ok()
        })
    };
    let is_sent = if threads == 1 {
        send()
    } else {
        thread::scope(|scope| {
            let senders: Vec<_> = (0..threads).map(|_| scope.spawn(send)).collect();
            senders
                .into_iter()
                .all(|sender| sender.join().unwrap_or(false))
        })
    };
    if is_sent {
        Ok(())
    } else {
        Err("the reader does not read".into())
    }
}

/// In the child: says when it is ready, and when all is there.
fn receive(contender: &str, path: &Path, messages: u64, bytes: u64) -> Outcome {
    let mut output = io::stdout();
    let mut say = move || output.write_all(b".").and_then(|()| output.flush());
    if matches!(contender, "raw" | "staged" | "handed") {
        let listener = UnixListener::bind(path)?;
        say()?;
        let (socket, _) = listener.accept()?;
        if contender == "raw" {
            take_bytes(socket, bytes)?;
        } else {
            take_frames(socket, messages)?;
        }
        return Ok(say()?);
    }
    let (told, end) = mpsc::channel();
    let seen = AtomicU64::new(0);
    let note = move |new: u64| {
        let seen_before = seen.load(Ordering::Relaxed);
        seen.store(seen_before + new, Ordering::Relaxed);
        if seen_before + new == messages {
            let _ = told.send(());
        }
    };
    let bound = Reader::builder(path).bind()?;
    let reader = if contender == "batched" {
        bound.start_batch_handler(move |batch: &Batch| {
            let messages = batch.messages();
            let count = messages.len() as u64;
            messages.for_each(look_at);
            note(count);
        })?
    } else {
        bound.start(move |message: &[u8]| {
            look_at(message);
            note(1);
        })?
    };
    say()?;
    end.recv()?;
    say()?;
    let _ = reader.shutdown(PATIENCE)?;
    Ok(())
}

/// As whoever uses it has to: each line of the cache.
fn look_at(bytes: &[u8]) {
    black_box(bytes.iter().step_by(64).fold(0, |sum, byte| sum ^ byte));
}

fn take_bytes(mut socket: UnixStream, mut left: u64) -> Outcome {
    let mut buffer = vec![0; 2 * PIECE];
    while left > 0 {
        let len = socket.read(&mut buffer)?;
        if len == 0 {
            return Err("the sender ended early".into());
        }
        look_at(&buffer[..len]);
        left -= len as u64;
    }
    Ok(())
}

fn take_frames(mut socket: UnixStream, mut left: u64) -> Outcome {
    let (mut buffer, mut filled) = (vec![0; 2 * PIECE], 0);
    while left > 0 {
        let len = socket.read(&mut buffer[filled..])?;
        if len == 0 {
            return Err("the sender ended early".into());
        }
        filled += len;
        let (mut at, mut needed) = (0, 0);
        while let Some((len, prefix_len)) = usize::decode_var(&buffer[at..filled]) {
            let (from, to) = (at + prefix_len, at + prefix_len + len);
            if to > filled {
                needed = to - at;
                break;
            }
            look_at(&buffer[from..to]);
            left -= 1;
            at = to;
        }
        buffer.copy_within(at..filled, 0);
        filled -= at;
        buffer.resize(buffer.len().max(needed), 0);
    }
    Ok(())
}

/// The processor time of this process and of the children that have ended.
fn cpu() -> Outcome<f64> {
    let mut sum = 0.0;
    for who in [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN] {
        let usage = getrusage(who)?;
        for time in [usage.user_time(), usage.system_time()] {
            sum += time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
        }
    }
    Ok(sum)
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<_> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
