//! Rotating files: lines `NAME NUMBER MESSAGE`, compressed, on the disk before they are confirmed.
//!
//! * What comes together is one gzip member (or plain lines), written and synced together. A kill
//!   may leave a half one at the end of the last file: it is cut off at the next start.
//! * Each file begins with lines `# NAME NUMBER`: where each producer stood then. So the last file
//!   tells where all stand.
//! * A line break in a message is written `\n`, a backslash `\\`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;

use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use futures_util::FutureExt;
use thiserror::Error;
use tokio::sync::oneshot;

use super::{Answer, Outcome, Sink, Trouble};
use crate::rule;
use crate::runs::{Behind, Piece, Position};

/// The most pieces that are synced together.
const TOGETHER: usize = 64;

/// How the files are.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) folder: PathBuf,
    /// A file that has so many bytes is the last one no more.
    pub(crate) max_bytes: u64,
    /// How many files are kept; 0 is all.
    pub(crate) keep: usize,
    pub(crate) is_compressed: bool,
}

/// Why the files cannot be used.
#[derive(Debug, Error)]
pub(crate) enum OpenError {
    #[error("another relay writes into {}", .0.display())]
    Locked(PathBuf),
    #[error("{}: {source}", .path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// A thread writes; this asks it.
pub(crate) struct Files {
    requests: mpsc::Sender<Request>,
}

enum Request {
    Ask(String, oneshot::Sender<Position>),
    Append(Piece, oneshot::Sender<Outcome>),
}

impl Files {
    pub(crate) fn open(layout: Layout) -> Result<Self, OpenError> {
        let folder = layout.folder.clone();
        let failed = |source| OpenError::Io {
            path: folder.clone(),
            source,
        };
        let mut store = Store::open(layout)?;
        let (requests, received) = mpsc::channel();
        let run = move || {
            while let Ok(request) = received.recv() {
                let more = received.try_iter().take(TOGETHER - 1);
                store.serve(std::iter::once(request).chain(more));
            }
        };
        thread::Builder::new()
            .name("files".to_owned())
            .spawn(run)
            .map_err(failed)?;
        Ok(Self { requests })
    }
}

fn gone<T>(_: T) -> Trouble {
    Trouble::Unreachable("the thread that writes files has ended".to_owned())
}

impl Sink for Files {
    const MAY_EXTEND: bool = false;

    async fn probe(&self) -> Result<(), Trouble> {
        self.ask("").await.map(drop)
    }

    async fn ask(&self, name: &str) -> Result<Position, Trouble> {
        let (answer, answered) = oneshot::channel();
        self.requests
            .send(Request::Ask(name.to_owned(), answer))
            .map_err(gone)?;
        answered.await.map_err(gone)
    }

    async fn send(&self, piece: Piece) -> Result<Answer, Trouble> {
        let (answer, answered) = oneshot::channel();
        self.requests
            .send(Request::Append(piece, answer))
            .map_err(gone)?;
        let answer =
            answered.map(|outcome| outcome.unwrap_or_else(|end| Outcome::unknown(gone(end))));
        Ok(answer.boxed())
    }

    fn longest(&self) -> usize {
        usize::MAX
    }
}

/// The files, and where each producer stands in them.
struct Store {
    layout: Layout,
    positions: BTreeMap<String, u64>,
    file: File,
    /// Of the file, from 1.
    index: u64,
    /// The length of what is whole and synced.
    len: u64,
    /// Held as long as this is.
    _lock: File,
}

impl Store {
    fn open(layout: Layout) -> Result<Self, OpenError> {
        let path = layout.folder.clone();
        let failed = |source| OpenError::Io {
            path: path.clone(),
            source,
        };
        fs::create_dir_all(&path).map_err(failed)?;
        let lock = File::create(path.join("lock")).map_err(failed)?;
        if lock.try_lock().is_err() {
            return Err(OpenError::Locked(path));
        }
        Self::recover(layout, lock).map_err(failed)
    }

    /// Goes on behind what is whole in the last file.
    fn recover(layout: Layout, lock: File) -> io::Result<Self> {
        let mut positions = BTreeMap::new();
        let Some((index, path)) = files(&layout.folder)?.pop() else {
            let (file, len) = begin(&layout, 1, &positions)?;
            return Ok(Self {
                layout,
                positions,
                file,
                index: 1,
                len,
                _lock: lock,
            });
        };
        let bytes = fs::read(&path)?;
        let whole = if path.extension().is_some_and(|extension| extension == "gz") {
            members(&bytes, |lines| take_positions(lines, &mut positions))
        } else {
            let whole = bytes
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(0, |end| end + 1);
            take_positions(bytes.get(..whole).unwrap_or_default(), &mut positions);
            whole
        };
        let file = File::options().append(true).open(&path)?;
        let len = u64::try_from(whole).unwrap_or(u64::MAX);
        file.set_len(len)?;
        file.sync_all()?;
        let mut store = Self {
            layout,
            positions,
            file,
            index,
            len,
            _lock: lock,
        };
        // It may have been written the other way.
        if path != name_of(&store.layout, index) {
            store.rotate()?;
        }
        Ok(store)
    }

    /// Answers those that came together, and syncs once for them.
    fn serve(&mut self, requests: impl Iterator<Item = Request>) {
        let (mut lines, mut answers) = (Vec::new(), Vec::new());
        let mut moved = BTreeMap::new();
        for request in requests {
            match request {
                Request::Ask(name, answer) => {
                    let _ = answer.send(position(self.stands(&name)));
                }
                Request::Append(piece, answer) => {
                    let name = piece.producer.name.to_string();
                    let stands = moved
                        .get(&name)
                        .copied()
                        .unwrap_or_else(|| self.stands(&name));
                    let before = match piece.behind {
                        Behind::Stored(position) => position.number,
                        Behind::Sent(number) => number,
                    };
                    if stands != before {
                        let why = format!("{name} is at {stands}");
                        let _ = answer.send(Outcome::unknown(Trouble::Moved(why)));
                        continue;
                    }
                    let mut last = before;
                    for message in &piece.messages {
                        line(&name, message.number, &message.body, &mut lines);
                        last = message.number;
                    }
                    moved.insert(name, last);
                    answers.push((answer, piece.messages.len(), last));
                }
            }
        }
        if answers.is_empty() {
            return;
        }
        let appended = self.append(&lines);
        if appended.is_ok() {
            self.positions.append(&mut moved);
        }
        for (answer, stored, last) in answers {
            let _ = answer.send(match &appended {
                Ok(()) => Outcome {
                    stored,
                    position: position(last),
                    trouble: None,
                },
                Err(error) => Outcome::unknown(Trouble::Refused(error.to_string())),
            });
        }
    }

    fn stands(&self, name: &str) -> u64 {
        self.positions.get(name).copied().unwrap_or(0)
    }

    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.len >= self.layout.max_bytes {
            self.rotate()?;
        }
        let bytes = packed(&self.layout, lines)?;
        // What failed before may have left a part.
        self.file.set_len(self.len)?;
        self.file.write_all(&bytes)?;
        self.file.sync_data()?;
        self.len += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let index = self.index + 1;
        (self.file, self.len) = begin(&self.layout, index, &self.positions)?;
        self.index = index;
        if self.layout.keep > 0 {
            let mut files = files(&self.layout.folder)?;
            let surplus = files.len().saturating_sub(self.layout.keep);
            for (_, path) in files.drain(..surplus) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

fn position(number: u64) -> Position {
    Position {
        number,
        sequence: number,
    }
}

fn name_of(layout: &Layout, index: u64) -> PathBuf {
    let extension = if layout.is_compressed {
        "log.gz"
    } else {
        "log"
    };
    layout.folder.join(format!("{index:012}.{extension}"))
}

/// The files, in order.
fn files(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if let Some((index, "log" | "log.gz")) = name.split_once('.')
            && let Some(index) = rule::digits(index)
        {
            files.push((index, path));
        }
    }
    files.sort();
    Ok(files)
}

/// A new file. It has its name only once it tells where all stand.
fn begin(
    layout: &Layout,
    index: u64,
    positions: &BTreeMap<String, u64>,
) -> io::Result<(File, u64)> {
    let mut head = String::new();
    for (name, number) in positions {
        head.extend(["# ", name, " ", &number.to_string(), "\n"]);
    }
    let bytes = packed(layout, head.as_bytes())?;
    let unnamed = layout.folder.join("next");
    let mut file = File::create(&unnamed)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    let path = name_of(layout, index);
    fs::rename(&unnamed, &path)?;
    File::open(&layout.folder)?.sync_all()?;
    let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    Ok((File::options().append(true).open(path)?, len))
}

fn packed(layout: &Layout, lines: &[u8]) -> io::Result<Vec<u8>> {
    if !layout.is_compressed {
        return Ok(lines.to_vec());
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(lines)?;
    encoder.finish()
}

/// Looks at what each whole member has. Returns where the last of them ends.
fn members(bytes: &[u8], mut look: impl FnMut(&[u8])) -> usize {
    let mut rest = bytes;
    while !rest.is_empty() {
        let (mut later, mut lines) = (rest, Vec::new());
        if GzDecoder::new(&mut later).read_to_end(&mut lines).is_err() {
            break;
        }
        rest = later;
        look(&lines);
    }
    bytes.len() - rest.len()
}

/// Where each producer stands after these lines.
fn take_positions(lines: &[u8], positions: &mut BTreeMap<String, u64>) {
    for line in lines.split(|byte| *byte == b'\n') {
        let line = line.strip_prefix(b"# ").unwrap_or(line);
        let mut words = line.splitn(3, |byte| *byte == b' ');
        let mut word = || std::str::from_utf8(words.next()?).ok();
        if let (Some(name), Some(number)) = (word(), word().and_then(rule::digits)) {
            positions.insert(name.to_owned(), number);
        }
    }
}

fn line(name: &str, number: u64, body: &[u8], lines: &mut Vec<u8>) {
    lines.extend_from_slice(format!("{name} {number} ").as_bytes());
    for byte in body {
        match byte {
            b'\n' => lines.extend_from_slice(b"\\n"),
            b'\\' => lines.extend_from_slice(b"\\\\"),
            byte => lines.push(*byte),
        }
    }
    lines.push(b'\n');
}
