//! Splits a stream of bytes into JSON values, whatever stands between them, with a bound on their
//! length and depth. It finds where a value ends; whether it is well formed inside, a parser says.
//! Pure: no I/O, no clock.

use thiserror::Error;

/// Why a stream is given up: where its next value begins is not known any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum SplitError {
    #[error("no JSON value")]
    Malformed,
    #[error("a value of more than {max_len} bytes")]
    TooLong { max_len: usize },
    #[error("a value of more than {max_depth} levels")]
    TooDeep { max_depth: usize },
}

/// Has the part of a value that has come, so at most `max_len` bytes.
#[derive(Debug)]
pub(crate) struct Splitter {
    max_len: usize,
    max_depth: usize,
    value: Vec<u8>,
    /// The brackets that will close what is open, the innermost last.
    open: Vec<u8>,
    place: Place,
}

/// Where in a value the next byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    BetweenValues,
    /// In a number, `true`, `false` or `null` that is a value of its own: only what follows ends
    /// it.
    Word,
    /// In an array or an object, but in no string.
    Brackets,
    String,
    /// In a string, behind a backslash.
    Escape,
}

/// What a byte is to the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Byte {
    Ignored,
    Part,
    Last,
    /// It is not part of the value, which has ended before it.
    Behind,
}

impl Splitter {
    /// `max_len` counts the bytes of a value without what surrounds it. A number has depth 0, `[]`
    /// has 1, `[[]]` has 2.
    pub(crate) fn new(max_len: usize, max_depth: usize) -> Self {
        Self {
            max_len,
            max_depth,
            value: Vec::new(),
            open: Vec::new(),
            place: Place::BetweenValues,
        }
    }

    /// Takes `bytes` up to the end of the first value, and returns it; or all of them, if it does
    /// not end in them. After an error the stream is of no more use.
    pub(crate) fn take(&mut self, bytes: &mut &[u8]) -> Result<Option<Vec<u8>>, SplitError> {
        while let Some((&byte, rest)) = bytes.split_first() {
            let is = self.look_at(byte)?;
            if is == Byte::Behind {
                return Ok(Some(self.finished()));
            }
            *bytes = rest;
            if is == Byte::Ignored {
                continue;
            }
            if self.value.len() == self.max_len {
                let max_len = self.max_len;
                return Err(SplitError::TooLong { max_len });
            }
            self.value.push(byte);
            if is == Byte::Last {
                return Ok(Some(self.finished()));
            }
        }
        Ok(None)
    }

    /// What was left at the end of the stream: a number there is complete, half an object is not.
    pub(crate) fn end(mut self) -> Result<Option<Vec<u8>>, SplitError> {
        match self.place {
            Place::BetweenValues => Ok(None),
            Place::Word => Ok(Some(self.finished())),
            Place::Brackets | Place::String | Place::Escape => Err(SplitError::Malformed),
        }
    }

    /// Whether no part of a value waits for the rest.
    pub(crate) fn is_between_values(&self) -> bool {
        self.place == Place::BetweenValues
    }

    fn finished(&mut self) -> Vec<u8> {
        self.place = Place::BetweenValues;
        std::mem::take(&mut self.value)
    }

    fn look_at(&mut self, byte: u8) -> Result<Byte, SplitError> {
        match (self.place, byte) {
            (Place::BetweenValues, b' ' | b'\t' | b'\r' | b'\n') => return Ok(Byte::Ignored),
            (Place::BetweenValues, b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => {
                self.place = Place::Word;
            }
            (Place::Word, b' ' | b'\t' | b'\r' | b'\n' | b'"' | b',' | b':') => {
                return Ok(Byte::Behind);
            }
            (Place::Word, b'[' | b']' | b'{' | b'}') => return Ok(Byte::Behind),
            (Place::BetweenValues | Place::Brackets, b'"') | (Place::Escape, _) => {
                self.place = Place::String;
            }
            (Place::BetweenValues | Place::Brackets, b'[') => self.open(b']')?,
            (Place::BetweenValues | Place::Brackets, b'{') => self.open(b'}')?,
            (Place::BetweenValues, _) => return Err(SplitError::Malformed),
            (Place::Brackets, b']' | b'}') => {
                if self.open.pop() != Some(byte) {
                    return Err(SplitError::Malformed);
                }
                return Ok(self.last_unless_open());
            }
            (Place::String, b'"') => {
                self.place = Place::Brackets;
                return Ok(self.last_unless_open());
            }
            (Place::String, b'\\') => self.place = Place::Escape,
            (Place::Word | Place::Brackets | Place::String, _) => {}
        }
        Ok(Byte::Part)
    }

    fn open(&mut self, closing: u8) -> Result<(), SplitError> {
        if self.open.len() == self.max_depth {
            let max_depth = self.max_depth;
            return Err(SplitError::TooDeep { max_depth });
        }
        self.open.push(closing);
        self.place = Place::Brackets;
        Ok(())
    }

    fn last_unless_open(&self) -> Byte {
        if self.open.is_empty() {
            Byte::Last
        } else {
            Byte::Part
        }
    }
}
