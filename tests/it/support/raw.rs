//! Either end of a connection as plain as can be, byte for byte. Nothing of the crate runs here.

use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use super::{PATIENCE, Place, wait_until};

/// A number as it stands on the wire.
pub(crate) fn varint(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(u8::try_from(number & 0x7f).unwrap() | 0x80);
        number >>= 7;
    }
    bytes.push(u8::try_from(number).unwrap());
    bytes
}

/// A message as it stands on the wire.
pub(crate) fn frame(message: &[u8]) -> Vec<u8> {
    let mut frame = varint(message.len());
    frame.extend_from_slice(message);
    frame
}

/// The messages in a stream of frames, and the half frame at its end.
pub(crate) fn unframe(mut stream: &[u8]) -> (Vec<Vec<u8>>, Vec<u8>) {
    let mut messages = Vec::new();
    loop {
        let mut len = 0;
        let Some(last) = stream.iter().position(|byte| byte & 0x80 == 0) else {
            break;
        };
        for (at, byte) in stream[..=last].iter().enumerate() {
            len |= usize::from(byte & 0x7f) << (7 * at);
        }
        if stream.len() < last + 1 + len {
            break;
        }
        messages.push(stream[last + 1..last + 1 + len].to_vec());
        stream = &stream[last + 1 + len..];
    }
    (messages, stream.to_vec())
}

/// A reader as plain as can be, that does what a test tells it to.
pub(crate) struct RawReader {
    listener: UnixListener,
    path: PathBuf,
    /// Gone with it, if it made the place itself.
    _place: Option<Place>,
}

impl RawReader {
    /// In a place of its own.
    pub(crate) fn new() -> Self {
        let place = Place::new();
        let reader = Self::bind(&place.socket());
        Self {
            _place: Some(place),
            ..reader
        }
    }

    pub(crate) fn bind(path: &Path) -> Self {
        Self {
            listener: UnixListener::bind(path).expect("a listener"),
            path: path.to_owned(),
            _place: None,
        }
    }

    /// Where it listens.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for the next connection.
    pub(crate) fn accept(&self) -> UnixStream {
        self.listener.set_nonblocking(true).unwrap();
        let mut accepted = None;
        wait_until("somebody connects", || {
            accepted = self.listener.accept().ok();
            accepted.is_some()
        });
        let (stream, _) = accepted.unwrap();
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Likewise, and takes the frames apart that come on it.
    pub(crate) fn meet(&self) -> RawPeer {
        RawPeer {
            stream: self.accept(),
            rest: Vec::new(),
            messages: Vec::new(),
            questions: Vec::new(),
        }
    }

    /// Hangs up on whoever waits, without a look.
    pub(crate) fn turn_away(&self) {
        self.listener.set_nonblocking(true).unwrap();
        drop(self.listener.accept());
    }

    pub(crate) fn nobody_waits(&self) -> bool {
        self.listener.set_nonblocking(true).unwrap();
        self.listener.accept().is_err()
    }
}

/// The reader's end of one connection: takes its frames apart, and answers questions only with what
/// a test tells it to.
pub(crate) struct RawPeer {
    pub(crate) stream: UnixStream,
    /// The beginning of a frame.
    rest: Vec<u8>,
    pub(crate) messages: Vec<Vec<u8>>,
    /// How many messages stood before each empty frame.
    pub(crate) questions: Vec<usize>,
}

impl RawPeer {
    /// Takes what is there, or waits for it; false at the end of the stream.
    fn read(&mut self) -> bool {
        let mut buffer = vec![0; 64 * 1024];
        let len = match self.stream.read(&mut buffer) {
            Ok(0) => return false,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return false,
            read => read.expect("bytes, or an end"),
        };
        self.rest.extend_from_slice(&buffer[..len]);
        let (frames, rest) = unframe(&self.rest);
        self.rest = rest;
        for frame in frames {
            if frame.is_empty() {
                self.questions.push(self.messages.len());
            } else {
                self.messages.push(frame);
            }
        }
        true
    }

    #[track_caller]
    fn read_until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        while !is_so(self) {
            let count = self.messages.len();
            assert!(
                self.read(),
                "the stream ended after {count} messages, not when {what}"
            );
        }
    }

    /// Reads until there are `count` messages.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, count: usize) {
        self.read_until(&format!("there were {count}"), |peer| {
            peer.messages.len() >= count
        });
    }

    /// Reads until a question stands behind `count` messages.
    #[track_caller]
    pub(crate) fn wait_for_question(&mut self, count: usize) {
        self.read_until(&format!("asked after {count}"), |peer| {
            peer.questions.last().is_some_and(|before| *before >= count)
        });
    }

    /// Reads until `count` questions were asked.
    #[track_caller]
    pub(crate) fn wait_for_questions(&mut self, count: usize) {
        self.read_until(&format!("asked {count} times"), |peer| {
            peer.questions.len() >= count
        });
    }

    /// Reads the first bytes of a message.
    #[track_caller]
    pub(crate) fn wait_for_a_beginning(&mut self) {
        self.read_until("a message began", |peer| {
            !(peer.rest.is_empty() && peer.messages.is_empty())
        });
    }

    /// Reads until it has more of a message than the prefix of a long one.
    #[track_caller]
    pub(crate) fn wait_for_a_piece(&mut self) {
        self.read_until("a piece of a message was there", |peer| {
            peer.rest.len() > 10
        });
    }

    /// Reads until it has a part of a message.
    #[track_caller]
    pub(crate) fn wait_for_a_part(&mut self) {
        self.read_until("half a message was there", |peer| !peer.rest.is_empty());
    }

    pub(crate) fn read_to_end(&mut self) {
        while self.read() {}
    }

    /// Gives a receipt for the first `count` messages.
    #[track_caller]
    pub(crate) fn answer(&mut self, count: usize) {
        self.say(&varint(count));
    }

    #[track_caller]
    pub(crate) fn say(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the writer is there");
    }
}

/// Reads whole messages from a raw connection until there are `count`.
pub(crate) fn read_messages(stream: &mut UnixStream, count: usize) -> Vec<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let (messages, _) = unframe(&bytes);
        if messages.len() >= count {
            return messages;
        }
        let len = stream.read(&mut buffer).expect("more bytes");
        assert!(
            len > 0,
            "the stream ended after {} of {count} messages",
            messages.len()
        );
        bytes.extend_from_slice(&buffer[..len]);
    }
}

/// Everything up to the end of a raw connection.
pub(crate) fn read_to_end(stream: &mut UnixStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A reset says that the other side left something unread, and ends the stream as well.
    let _ = stream.read_to_end(&mut bytes);
    bytes
}

/// Connects to a reader of ours, as plain as can be.
pub(crate) fn connect(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends bytes, and ends the stream.
pub(crate) fn send_and_close(path: &Path, bytes: &[u8]) {
    connect(path).write_all(bytes).expect("the reader takes it");
}

/// Whether the other side has ended the connection. Waits for it.
#[track_caller]
pub(crate) fn is_closed(stream: &mut UnixStream) -> bool {
    match stream.read(&mut [0]) {
        Ok(len) => len == 0,
        // Such as a reset; but not that nothing has come.
        Err(error) => error.kind() != io::ErrorKind::WouldBlock,
    }
}

/// The next receipt.
#[track_caller]
pub(crate) fn receipt(stream: &mut impl Read) -> u64 {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a receipt");
        number |= u64::from(byte[0] & 0x7f) << shift;
        if byte[0] & 0x80 == 0 {
            break;
        }
    }
    number
}
