//! The demonstration: two daemons send log lines to a collector, each a process of its own, and
//! nothing is lost.
//!
//! ```text
//! cargo run --release --example telemetry -- /var/log
//! ```
//!
//! Each line of the log files in the folder is a message. Without a folder it takes what it finds
//! on the machine. At the end the lines that were read are compared with those that were received:
//! how many, in which order, and what is in them. The exit code is 0 if they are the same, and 1 if
//! not.
//!
//! A second argument is the collector's address (a path of its own unless given): a path, `@NAME`
//! or `tcp:HOST:PORT`. It is no `fd:N` and no `-`, which are one end of a stream: both ends are
//! here.

#![expect(clippy::expect_used, reason = "nothing panics while it holds the lock")]
#![expect(clippy::print_stderr, reason = "errors belong on standard error")]
#![expect(
    clippy::print_stdout,
    reason = "the figures are what this program is run for"
)]

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use uds_ipc::{Address, Reader, Writer};

type AnyError = Box<dyn Error + Send + Sync>;

/// How long anything may take that takes no time unless something is broken.
const PATIENCE: Duration = Duration::from_secs(20);

/// The most that is taken of a log file that was only found.
const FOUND_SIZE: u64 = 16 * 1024 * 1024;

/// Text that most machines have, for those without log files.
const OTHER_TEXT: [&str; 5] = [
    "/etc/services",
    "/etc/protocols",
    "/etc/profile",
    "/etc/os-release",
    "/etc/hosts",
];

const EMITTERS: u8 = 2;

const USAGE: &str = "usage: telemetry [FOLDER [ADDRESS]]: sends the lines of the log files in FOLDER, or of those that it finds, \
                     through two daemons to a collector, and compares what arrives. ADDRESS is a path, @NAME or tcp:HOST:PORT";

fn main() -> ExitCode {
    let args: Vec<OsString> = env::args_os().skip(1).collect();
    let args: Vec<&OsStr> = args.iter().map(OsString::as_os_str).collect();
    let done = match args.as_slice() {
        [role, socket] if *role == "--collector" => collect(socket),
        [role, emitter, socket, files @ ..] if *role == "--emitter" => emit(emitter, socket, files),
        [help] if ["-h", "--help"].map(OsStr::new).contains(help) => {
            println!("{USAGE}");
            Ok(())
        }
        [option, ..] if option.as_encoded_bytes().starts_with(b"-") => Err(USAGE.into()),
        [] => found_logs().and_then(|files| demonstrate(&files, None)),
        [folder] => logs_in(Path::new(folder)).and_then(|files| demonstrate(&files, None)),
        [_, address] if *address == "-" || address.as_encoded_bytes().starts_with(b"fd:") => {
            Err(USAGE.into())
        }
        [folder, address] => {
            logs_in(Path::new(folder)).and_then(|files| demonstrate(&files, Some(address)))
        }
        _ => Err(USAGE.into()),
    };
    done.map_or_else(
        |error| {
            eprintln!("telemetry: {error}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}

/// A file, and how much of it is sent: what is appended meanwhile is not.
struct Source {
    path: PathBuf,
    len: u64,
}

/// The files whose names end in `.log`, or all of them if none does.
fn logs_in(folder: &Path) -> Result<Vec<Source>, AnyError> {
    let cannot = |error| format!("cannot read {}: {error}", folder.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => files.push(Source {
                path,
                len: metadata.len(),
            }),
            _ => {}
        }
    }
    if files.iter().any(is_log) {
        files.retain(is_log);
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(files)
}

fn is_log(file: &Source) -> bool {
    file.path.extension() == Some(OsStr::new("log"))
}

/// The readable text files in `/var/log`; if there are none, some other text.
fn found_logs() -> Result<Vec<Source>, AnyError> {
    let mut files = logs_in(Path::new("/var/log")).unwrap_or_default();
    files.retain(is_text);
    println!("no folder was given: taking the log files of /var/log");
    if files.is_empty() {
        println!("there are none to be read: taking other text, of /etc");
        let sized = |path: &str| {
            Some(Source {
                path: path.into(),
                len: fs::metadata(path).ok()?.len(),
            })
        };
        files = OTHER_TEXT
            .iter()
            .filter_map(|path| sized(path))
            .filter(is_text)
            .collect();
    }
    for file in &mut files {
        file.len = file.len.min(FOUND_SIZE);
    }
    if files.is_empty() {
        Err("no log lines were found: give a folder of log files".into())
    } else {
        Ok(files)
    }
}

fn is_text(file: &Source) -> bool {
    let mut start = Vec::new();
    let read = File::open(&file.path).and_then(|opened| opened.take(4096).read_to_end(&mut start));
    read.is_ok() && !start.is_empty() && !start.contains(&0)
}

/// Calls `each` with every line of a file, without its line end. An empty line is a line too.
fn each_line(
    file: &Source,
    mut each: impl FnMut(&[u8]) -> Result<(), AnyError>,
) -> Result<(), AnyError> {
    let cannot = |error: io::Error| format!("cannot read {}: {error}", file.path.display());
    let mut file = BufReader::new(File::open(&file.path).map_err(cannot)?.take(file.len));
    let mut line = Vec::new();
    while file.read_until(b'\n', &mut line).map_err(cannot)? > 0 {
        let content = line.strip_suffix(b"\n").unwrap_or(&line);
        each(content.strip_suffix(b"\r").unwrap_or(content))?;
        line.clear();
    }
    Ok(())
}

/// How many lines there were, and the sum over what is in them. All processes run the same program,
/// so that they get the same sum for the same lines in the same order.
#[derive(Default)]
struct Count {
    lines: u64,
    sum: DefaultHasher,
}

impl Count {
    fn add(&mut self, line: &[u8]) {
        self.lines += 1;
        line.hash(&mut self.sum);
    }
}

// The parent: reads the files, starts the daemons, and compares what came of it.

fn demonstrate(files: &[Source], address: Option<&OsStr>) -> Result<(), AnyError> {
    let shares: Vec<Share<'_>> = (1..=EMITTERS)
        .map(|emitter| Share::read(emitter, files))
        .collect::<Result<_, _>>()?;
    let lines: u64 = shares.iter().map(|share| share.count.lines).sum();
    println!("{lines} lines in {} files", files.len());
    if lines == 0 {
        return Err("there is nothing to send".into());
    }

    // Ctrl-C reaches the daemons too. Their end is an error here, and so the directory is removed.
    signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::default())?;
    let directory = tempfile::tempdir()?;
    let socket = directory.path().join("telemetry.sock");
    let address = address.unwrap_or(socket.as_ref());
    let collector = Daemon::start("collector".into(), [OsStr::new("--collector"), address])?;
    let mut emitters = Vec::new();
    for share in &shares {
        emitters.push(Daemon::start(
            format!("emitter {}", share.emitter),
            share.args(&collector.address),
        )?);
    }
    let mut sent = Reports::new();
    for emitter in emitters {
        sent.extend(emitter.finish()?);
    }
    compare(&shares, &sent, &collector.finish()?)
}

/// The files of one emitter, and what is in them.
struct Share<'a> {
    emitter: u8,
    files: Vec<&'a Source>,
    count: Count,
}

impl<'a> Share<'a> {
    fn read(emitter: u8, files: &'a [Source]) -> Result<Self, AnyError> {
        let files = files
            .iter()
            .skip(usize::from(emitter - 1))
            .step_by(usize::from(EMITTERS))
            .collect();
        let mut share = Self {
            emitter,
            files,
            count: Count::default(),
        };
        for file in &share.files {
            each_line(file, |line| {
                share.count.add(line);
                Ok(())
            })?;
        }
        Ok(share)
    }

    fn args(&self, address: &OsStr) -> Vec<OsString> {
        let mut args = vec![
            "--emitter".into(),
            self.emitter.to_string().into(),
            address.into(),
        ];
        for Source { path, len } in &self.files {
            args.extend([path.into(), len.to_string().into()]);
        }
        args
    }
}

/// What the daemons report at their end, by emitter. An emitter: accepted, sent, refused and the
/// sum; the collector: received, missing, repeated and the sum.
type Reports = BTreeMap<u8, [u64; 4]>;

/// A process of ours, which does not outlive this object.
struct Daemon {
    name: String,
    process: Child,
    /// Where it is: its first line. At port 0 the collector knows which it got.
    address: OsString,
    output: Option<JoinHandle<Result<Reports, AnyError>>>,
}

impl Daemon {
    fn start(
        name: String,
        args: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Result<Self, AnyError> {
        let mut command = Command::new(env::current_exe()?);
        let process = command
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut daemon = Self {
            name,
            process,
            address: OsString::new(),
            output: None,
        };
        let output = daemon
            .process
            .stdout
            .take()
            .ok_or("a daemon has no output")?;
        let mut output = BufReader::new(output);
        let mut address = Vec::new();
        if output.read_until(b'\n', &mut address)? == 0 {
            return Err(format!("{} failed: {}", daemon.name, daemon.process.wait()?).into());
        }
        address.pop();
        daemon.address = OsString::from_vec(address);
        let name = daemon.name.clone();
        daemon.output = Some(thread::spawn(move || show(&name, output)));
        Ok(daemon)
    }

    /// Waits for its end, and hands its report over. The end of its input tells the collector to
    /// stop.
    fn finish(mut self) -> Result<Reports, AnyError> {
        drop(self.process.stdin.take());
        let output = self.output.take().ok_or("a daemon has no output")?;
        let reports = output.join().map_err(|_| "a thread panicked")?;
        let status = self.process.wait()?;
        if status.success() {
            reports
        } else {
            Err(format!("{} failed: {status}", self.name).into())
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both do nothing where it has ended and was waited for.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Prints the figures that a daemon prints, and keeps its report.
fn show(name: &str, output: impl BufRead) -> Result<Reports, AnyError> {
    let mut reports = Reports::new();
    for line in output.lines() {
        let line = line?;
        if let Some(report) = line.strip_prefix("report ") {
            let (emitter, values) = report.split_once(' ').ok_or("a report without values")?;
            let values: Vec<u64> = values
                .split(' ')
                .map(str::parse)
                .collect::<Result<_, _>>()?;
            let values = values
                .try_into()
                .map_err(|_| "a report with other than four values")?;
            reports.insert(emitter.parse()?, values);
        } else {
            println!("{name}: {line}");
        }
    }
    Ok(reports)
}

/// Whether what was read, sent and received is the same, emitter by emitter.
fn compare(shares: &[Share<'_>], sent: &Reports, received: &Reports) -> Result<(), AnyError> {
    println!(
        "emitter       read   accepted       sent   received    missing   repeated   contents"
    );
    let mut all_good = true;
    let mut total = 0;
    for Share { emitter, count, .. } in shares {
        let [accepted, sent, refused, sum] = sent.get(emitter).copied().unwrap_or_default();
        // Of an emitter that sent nothing the collector has not heard.
        let nothing = [0, 0, 0, DefaultHasher::new().finish()];
        let [received, missing, repeated, received_sum] =
            received.get(emitter).copied().unwrap_or(nothing);
        let (lines, read_sum) = (count.lines, count.sum.finish());
        let same = read_sum == sum && sum == received_sum;
        let contents = if same { "the same" } else { "DIFFERENT" };
        println!(
            "{emitter:<7} {lines:>10} {accepted:>10} {sent:>10} {received:>10} {missing:>10} {repeated:>10}   {contents}"
        );
        let counted = [accepted, sent, received]
            .iter()
            .all(|figure| *figure == lines);
        all_good &= same && counted && [missing, repeated, refused] == [0; 3];
        total += received;
    }
    if all_good {
        println!("all {total} lines were received: none lost, none twice, their contents the same");
        Ok(())
    } else {
        Err("what was received is not what was read".into())
    }
}

// An emitter: reads its files and sends their lines. A message is the emitter's number in one byte,
// the line's number in eight, and the line.

fn emit(emitter: &OsStr, socket: &OsStr, files: &[&OsStr]) -> Result<(), AnyError> {
    let emitter: u8 = emitter.to_string_lossy().parse()?;
    // After a write timeout the new connection may overtake the old one. Here the order is checked,
    // so it is long.
    let writer = Writer::builder(socket)
        .max_queued_messages(1_000)
        .write_timeout(PATIENCE)
        .start()?;
    say_where(writer.address())?;
    let figures = || {
        let now = writer.metrics();
        let [accepted, sent, queued] =
            [now.accepted, now.sent, now.queued].map(|tally| tally.messages);
        println!("accepted {accepted}, sent {sent}, queued {queued}");
    };
    let (working, done) = mpsc::channel();
    let count = thread::scope(|scope| {
        scope.spawn(move || every_second(&done, figures));
        let count = send_lines(&writer, emitter, files);
        drop(working);
        count
    })?;
    let metrics = writer.shutdown(PATIENCE)?.metrics;
    figures();
    let refused = metrics.dropped.total().messages;
    let (accepted, sent, sum) = (
        metrics.accepted.messages,
        metrics.sent.messages,
        count.sum.finish(),
    );
    println!("report {emitter} {accepted} {sent} {refused} {sum}");
    Ok(())
}

fn send_lines(writer: &Writer, emitter: u8, files: &[&OsStr]) -> Result<Count, AnyError> {
    let mut count = Count::default();
    let mut message = Vec::new();
    for file in files.chunks_exact(2) {
        let [path, len] = file else { continue };
        let file = Source {
            path: path.into(),
            len: len.to_string_lossy().parse()?,
        };
        each_line(&file, |line| {
            message.clear();
            message.push(emitter);
            message.extend(count.lines.to_le_bytes());
            message.extend(line);
            // A full queue slows the reading down. A daemon that must not wait calls `try_send`
            // instead.
            writer.send_timeout(&message, PATIENCE)?;
            count.add(line);
            Ok(())
        })?;
    }
    Ok(count)
}

/// As bytes: a path need not be text.
fn say_where(address: &Address) -> io::Result<()> {
    let address: &OsStr = address.as_ref();
    io::stdout().write_all(&[address.as_encoded_bytes(), b"\n"].concat())
}

/// Prints the figures every second, until the other end of `done` is dropped.
fn every_second(done: &Receiver<()>, print: impl Fn()) {
    while done.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
        print();
    }
}

// The collector: checks and counts what it gets until its input ends.

/// What has come from one emitter.
#[derive(Default)]
struct Received {
    count: Count,
    next: u64,
    missing: u64,
    repeated: u64,
}

fn collect(socket: &OsStr) -> Result<(), AnyError> {
    let received = Arc::new(Mutex::new(BTreeMap::<u8, Received>::new()));
    let check = Arc::clone(&received);
    let bound = Reader::builder(socket).bind()?;
    say_where(bound.address())?;
    let reader = bound.start(move |message| {
        check_message(
            message,
            &mut check
                .lock()
                .expect("nothing panics while it holds the lock"),
        )
    })?;

    let (open, ended) = mpsc::channel::<()>();
    thread::spawn(move || {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        drop(open);
    });
    let figures = || {
        let now = reader.metrics();
        let (messages, bytes) = (now.received.messages, now.received.bytes);
        println!(
            "received {messages} messages, {bytes} bytes; {} connections in all",
            now.connections
        );
    };
    every_second(&ended, figures);

    let metrics = reader.shutdown(PATIENCE)?.metrics;
    figures();
    for (emitter, of) in &*received
        .lock()
        .expect("nothing panics while it holds the lock")
    {
        let sum = of.count.sum.finish();
        println!(
            "report {emitter} {} {} {} {sum}",
            of.count.lines, of.missing, of.repeated
        );
    }
    match metrics.handler_errors + metrics.panics {
        0 => Ok(()),
        errors => Err(format!("the collector could not deal with {errors} messages").into()),
    }
}

fn check_message(
    message: &[u8],
    received: &mut BTreeMap<u8, Received>,
) -> Result<(), &'static str> {
    let (emitter, rest) = message
        .split_first()
        .ok_or("a message without an emitter")?;
    let (number, line) = rest
        .split_first_chunk()
        .ok_or("a message without a number")?;
    let number = u64::from_le_bytes(*number);
    let of = received.entry(*emitter).or_default();
    if number < of.next {
        of.repeated += 1;
    } else {
        of.missing += number - of.next;
        of.next = number + 1;
    }
    of.count.add(line);
    Ok(())
}
