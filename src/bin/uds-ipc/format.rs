//! How a message is printed, in each of the formats.
//! Writes to whatever it is given; locks and flushing are elsewhere.

use std::io::{self, Write};
use std::str;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use clap::ValueEnum;
use humantime::Rfc3339Timestamp;
use integer_encoding::VarIntWriter;
use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;
use uds_ipc::{Identity, Peer};

/// How many bytes become hexadecimal digits at a time.
const PIECE_SIZE: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// The bytes as they came, and a newline; a terminal obeys the control characters in them
    Lines,
    /// An object with connection, pid, uid, from (over TCP), recovered (from a process that died),
    /// length, and text (or base64 where the bytes are no UTF-8); with --timestamps also time
    Json,
    /// Two hexadecimal digits a byte, and a newline
    Hex,
    /// A record of any bytes: before each message its length, as `send --frames` takes it. No times
    /// are recorded: `send --rate` paces
    Frames,
    /// Nothing: messages are only counted
    None,
}

/// How messages are printed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub(crate) format: Format,
    /// What a message ends with, where it is no frame.
    pub(crate) end: u8,
}

impl Layout {
    /// Writes a message, and when it came where that is given.
    pub(crate) fn write(
        self,
        out: &mut impl Write,
        message: &[u8],
        peer: &Peer,
        came: Option<&Rfc3339Timestamp>,
    ) -> io::Result<()> {
        match self.format {
            Format::Lines => {
                write_time(out, came)?;
                out.write_all(message)?;
            }
            Format::Json => write_json(out, message, peer, came)?,
            Format::Hex => {
                write_time(out, came)?;
                write_hex(out, message)?;
            }
            Format::Frames => {
                out.write_varint(message.len())?;
                return out.write_all(message);
            }
            Format::None => return Ok(()),
        }
        out.write_all(&[self.end])
    }
}

fn write_time(out: &mut impl Write, came: Option<&Rfc3339Timestamp>) -> io::Result<()> {
    came.map_or(Ok(()), |came| write!(out, "{came} "))
}

fn write_or_null(out: &mut impl Write, number: Option<u32>) -> io::Result<()> {
    match number {
        Some(number) => write!(out, "{number}"),
        None => out.write_all(b"null"),
    }
}

/// Piece by piece, where a map of values would be allocated for every message.
fn write_json(
    out: &mut impl Write,
    message: &[u8],
    peer: &Peer,
    came: Option<&Rfc3339Timestamp>,
) -> io::Result<()> {
    out.write_all(b"{")?;
    if let Some(came) = came {
        write!(out, r#""time":"{came}","#)?;
    }
    write!(out, r#""connection":{},"pid":"#, peer.connection)?;
    let credentials = peer.identity.credentials();
    write_or_null(out, credentials.and_then(|credentials| credentials.pid))?;
    out.write_all(br#","uid":"#)?;
    write_or_null(out, peer.identity.uid())?;
    if let Identity::Remote(address) = peer.identity {
        write!(out, r#","from":"{address}""#)?;
    }
    if peer.recovered {
        out.write_all(br#","recovered":true"#)?;
    }
    write!(out, r#","length":{},"#, message.len())?;
    if let Ok(text) = str::from_utf8(message) {
        out.write_all(br#""text":"#)?;
        let mut serializer = Serializer::with_formatter(&mut *out, ForTerminals);
        text.serialize(&mut serializer)?;
        out.write_all(b"}")
    } else {
        let digits = Base64Display::new(message, &STANDARD);
        write!(out, r#""base64":"{digits}"}}"#)
    }
}

/// Leaves no control character to a terminal, also none above 0x7e: U+009B begins a sequence there.
struct ForTerminals;

impl Formatter for ForTerminals {
    fn write_string_fragment<W: Write + ?Sized>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let is_control = |char| ('\u{7f}'..='\u{9f}').contains(&char);
        // Those begin with one of these bytes.
        if !fragment.bytes().any(|byte| matches!(byte, 0x7f | 0xc2)) {
            return out.write_all(fragment.as_bytes());
        }
        for part in fragment.split_inclusive(is_control) {
            match part.char_indices().next_back() {
                Some((at, char)) if is_control(char) => {
                    out.write_all(part.get(..at).unwrap_or_default().as_bytes())?;
                    write!(out, "\\u{:04x}", u32::from(char))?;
                }
                _ => out.write_all(part.as_bytes())?,
            }
        }
        Ok(())
    }
}

fn write_hex(out: &mut impl Write, message: &[u8]) -> io::Result<()> {
    let mut digits = [[0; 2]; PIECE_SIZE];
    for piece in message.chunks(PIECE_SIZE) {
        for (pair, byte) in digits.iter_mut().zip(piece) {
            *pair = [digit(byte >> 4), digit(byte & 0xf)];
        }
        out.write_all(digits.get(..piece.len()).unwrap_or_default().as_flattened())?;
    }
    Ok(())
}

fn digit(value: u8) -> u8 {
    if value < 10 {
        b'0' + value
    } else {
        b'a' + value - 10
    }
}
