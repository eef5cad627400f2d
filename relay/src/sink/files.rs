//! Rotating files: lines `NAME NUMBER MESSAGE`, compressed, on the disk before they are confirmed.
//!
//! * What comes together is one gzip member (or plain lines), written and synced together. A kill
//!   may leave a half one at the end of the last file: it is cut off at the next start.
//! * Each file begins with lines `# NAME NUMBER`: where each producer stood then. So the last file
//!   tells where all stand.
//! * A line break in a message is written `\n`, a backslash `\\`, a zero byte `\0`: so one that is
//!   found as it is, is what a power cut left where nothing was written.
//! * Damage with something whole behind it is more than a kill leaves: the relay does not start.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;

use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use futures_util::FutureExt;
use thiserror::Error;
use tokio::sync::oneshot;
use tracing::warn;

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
    #[error(
        "{} is damaged at byte {at}, and has whole messages behind: mend it, or put all files away", .path.display()
    )]
    Damaged { path: PathBuf, at: u64 },
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
    /// The length that counts for `max_bytes` is that behind its head.
    head: u64,
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
        Self::recover(layout, lock)
    }

    /// Goes on behind what is whole in the last file.
    fn recover(layout: Layout, lock: File) -> Result<Self, OpenError> {
        let folder = layout.folder.clone();
        let failed = |source| OpenError::Io {
            path: folder.clone(),
            source,
        };
        let mut positions = BTreeMap::new();
        let Some((index, path)) = files(&folder).map_err(failed)?.pop() else {
            let (file, len) = begin(&layout, 1, &positions).map_err(failed)?;
            return Ok(Self {
                layout,
                positions,
                file,
                index: 1,
                len,
                head: len,
                _lock: lock,
            });
        };
        let is_compressed = path.extension().is_some_and(|extension| extension == "gz");
        let mut reader = BufReader::new(File::open(&path).map_err(failed)?);
        let len = if is_compressed {
            members(&mut reader, &mut positions)
        } else {
            take(&mut reader, &mut positions)
        };
        let len = len.map_err(failed)?;
        if is_compressed && is_member_behind(&mut reader, len).map_err(failed)? {
            return Err(OpenError::Damaged { path, at: len });
        }
        let file = File::options().append(true).open(&path).map_err(failed)?;
        let cut = file.metadata().map_err(failed)?.len().saturating_sub(len);
        if cut > 0 {
            warn!(file = %path.display(), bytes = cut, "half of what came last is cut off");
            file.set_len(len).map_err(failed)?;
        }
        file.sync_all().map_err(failed)?;
        let mut store = Self {
            layout,
            positions,
            file,
            index,
            len,
            // What was its head is known no more; this one may become longer.
            head: 0,
            _lock: lock,
        };
        // It may have been written the other way.
        if path != name_of(&store.layout, index) {
            store.rotate().map_err(failed)?;
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
                    answers.push((answer, last));
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
        for (answer, last) in answers {
            let _ = answer.send(match &appended {
                Ok(()) => Outcome {
                    stored: vec![position(last)],
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
        if self.len - self.head >= self.layout.max_bytes {
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
        self.head = self.len;
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

/// Where each producer stands after the whole members. Returns where the last of them ends.
fn members(
    file: &mut (impl BufRead + Seek),
    positions: &mut BTreeMap<String, u64>,
) -> io::Result<u64> {
    loop {
        let begin = file.stream_position()?;
        if file.fill_buf()?.is_empty() {
            return Ok(begin);
        }
        let mut its = BTreeMap::new();
        if !member(file, &mut its)? {
            return Ok(begin);
        }
        positions.append(&mut its);
    }
}

/// Reads a member; whether it is whole, to its check at the end, and one of the relay's.
fn member(file: &mut impl BufRead, positions: &mut BTreeMap<String, u64>) -> io::Result<bool> {
    let mut lines = BufReader::new(GzDecoder::new(file));
    match take(&mut lines, positions) {
        // Nothing is left that is no line.
        Ok(_) => Ok(lines.fill_buf().is_ok_and(<[u8]>::is_empty)),
        Err(error) => {
            let torn = [
                io::ErrorKind::UnexpectedEof,
                io::ErrorKind::InvalidData,
                io::ErrorKind::InvalidInput,
            ];
            if torn.contains(&error.kind()) {
                Ok(false)
            } else {
                Err(error)
            }
        }
    }
}

/// Whether a member with messages begins somewhere behind `end`.
fn is_member_behind(file: &mut BufReader<File>, end: u64) -> io::Result<bool> {
    const BEGIN: &[u8] = &[0x1f, 0x8b, 8];
    file.seek(SeekFrom::Start(end))?;
    let mut rest = Vec::new();
    file.read_to_end(&mut rest)?;
    for (index, window) in rest.windows(BEGIN.len()).enumerate().skip(1) {
        let mut positions = BTreeMap::new();
        if window == BEGIN
            && let Some(mut rest) = rest.get(index..)
            && member(&mut rest, &mut positions)?
            && !positions.is_empty()
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Where each producer stands after the whole lines. Returns where the last of them ends.
fn take(lines: &mut impl BufRead, positions: &mut BTreeMap<String, u64>) -> io::Result<u64> {
    let (mut end, mut line) = (0, Vec::new());
    loop {
        line.clear();
        lines.read_until(b'\n', &mut line)?;
        let Some((name, number)) = parsed(&line) else {
            return Ok(end);
        };
        positions.insert(name.to_owned(), number);
        end += u64::try_from(line.len()).unwrap_or(u64::MAX);
    }
}

/// The name and the number of a line, if it is a whole one.
fn parsed(line: &[u8]) -> Option<(&str, u64)> {
    let line = line.strip_suffix(b"\n").filter(|line| !line.contains(&0))?;
    let (head, is_head) = match line.strip_prefix(b"# ") {
        Some(head) => (head, true),
        None => (line, false),
    };
    let mut words = head.splitn(3, |byte| *byte == b' ');
    let mut word = || words.next();
    let name = std::str::from_utf8(word()?).ok();
    let number = std::str::from_utf8(word()?).ok().and_then(rule::digits);
    if word().is_none() != is_head {
        return None;
    }
    Some((name.filter(|name| rule::is_name(name))?, number?))
}

fn line(name: &str, number: u64, body: &[u8], lines: &mut Vec<u8>) {
    lines.extend_from_slice(format!("{name} {number} ").as_bytes());
    for byte in body {
        match byte {
            b'\n' => lines.extend_from_slice(b"\\n"),
            b'\\' => lines.extend_from_slice(b"\\\\"),
            0 => lines.extend_from_slice(b"\\0"),
            byte => lines.push(*byte),
        }
    }
    lines.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(folder: &Path, is_compressed: bool, max_bytes: u64) -> Layout {
        Layout {
            folder: folder.to_owned(),
            max_bytes,
            keep: 0,
            is_compressed,
        }
    }

    fn append(store: &mut Store, number: u64) {
        let mut lines = Vec::new();
        line("web", number, b"a\0b\nc\\d", &mut lines);
        store.append(&lines).unwrap();
        store.positions.insert("web".to_owned(), number);
    }

    #[test]
    fn damage_before_what_is_whole_is_not_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(layout(folder.path(), true, 1 << 20)).unwrap();
        let mut begins = Vec::new();
        for number in 1..=9 {
            begins.push(store.len);
            append(&mut store, number);
        }
        drop(store);
        let path = folder.path().join("000000000001.log.gz");
        let whole = fs::read(&path).unwrap();
        let mut damaged = whole.clone();
        damaged[usize::try_from(begins[2]).unwrap() + 12] ^= 0xff;
        fs::write(&path, &damaged).unwrap();
        let refused = Store::open(layout(folder.path(), true, 1 << 20));
        let at = match refused.map(drop) {
            Err(OpenError::Damaged { at, .. }) => at,
            other => panic!("{other:?}"),
        };
        assert_eq!((at, fs::read(&path).unwrap()), (begins[2], damaged));
        // A torn end is cut off.
        fs::write(&path, &whole[..whole.len() - 3]).unwrap();
        let store = Store::open(layout(folder.path(), true, 1 << 20)).unwrap();
        assert_eq!((store.stands("web"), store.len), (8, begins[8]));
    }

    #[test]
    fn a_hole_of_zeros_is_no_line_nor_what_follows_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(layout(folder.path(), false, 1 << 20)).unwrap();
        append(&mut store, 1);
        let len = store.len;
        drop(store);
        let path = folder.path().join("000000000001.log");
        for torn in [
            &b"\0\0\0\nweb 3 whole\n"[..],
            b"web 2 a\0\0\nweb 3 whole\n",
            b"web 2 a",
        ] {
            let file = File::options().append(true).open(&path);
            file.unwrap().write_all(torn).unwrap();
            let store = Store::open(layout(folder.path(), false, 1 << 20)).unwrap();
            assert_eq!((store.stands("web"), store.len), (1, len));
        }
    }

    /// Else each message would have a file of its own.
    #[test]
    fn a_head_longer_than_a_file_may_be_does_not_fill_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(layout(folder.path(), false, 1_000)).unwrap();
        for name in 0..1_000 {
            store.positions.insert(format!("p{name}"), 1);
        }
        store.rotate().unwrap();
        for number in 1..=20 {
            append(&mut store, number);
        }
        assert_eq!(store.index, 2);
    }
}
