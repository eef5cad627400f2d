//! Whose message it is, and which: the producer's name and the growing number, out of the message.
//! Pure: no I/O, no clock.

use std::borrow::Cow;
use std::collections::HashMap;
use std::str::{self, FromStr};

use serde_json::value::RawValue;
use thiserror::Error;

/// The most bytes of a producer's name.
pub(crate) const LONGEST_NAME: usize = 100;

/// How a message says whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// `NAME NUMBER BODY`, with one space each; the body goes on alone.
    Prefix,
    /// Two fields of a JSON object. A field inside another is `OUTER.INNER`.
    Json { name: String, number: String },
    /// Two fields of a protobuf message, by their numbers: a string, and a varint or fixed64.
    Protobuf { name: u32, number: u32 },
}

/// A message that the rule was applied to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Marked<'a> {
    /// The producer.
    pub(crate) name: Cow<'a, str>,
    /// At least 1, and more than that of the producer's message before.
    pub(crate) number: u64,
    /// What goes on.
    pub(crate) body: &'a [u8],
}

/// Why a message is nobody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum Unmarked {
    #[error("it does not begin with NAME NUMBER and a space")]
    Prefix,
    #[error("it is no JSON object")]
    Json,
    #[error("it is no protobuf message")]
    Protobuf,
    #[error("it has no field with the producer's name")]
    NoName,
    #[error("it has no field with a number of at least 1, below 2^64")]
    NoNumber,
    #[error("its name is not 1 to {LONGEST_NAME} letters, digits, `-`, `_`, or `.` between them")]
    Name,
}

/// Why a text is no rule.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("a rule is `prefix`, `json:NAME_FIELD,NUMBER_FIELD` or `protobuf:NAME_FIELD,NUMBER_FIELD`")]
pub(crate) struct NotARule;

impl FromStr for Rule {
    type Err = NotARule;

    fn from_str(text: &str) -> Result<Self, NotARule> {
        if text == "prefix" {
            return Ok(Self::Prefix);
        }
        let (kind, fields) = text.split_once(':').ok_or(NotARule)?;
        let (name, number) = fields.split_once(',').ok_or(NotARule)?;
        let field = |text: &str| {
            text.parse()
                .ok()
                .filter(|field| (1..1 << 29).contains(field))
        };
        match kind {
            "json" if !name.is_empty() && !number.is_empty() => Ok(Self::Json {
                name: name.to_owned(),
                number: number.to_owned(),
            }),
            "protobuf" => Ok(Self::Protobuf {
                name: field(name).ok_or(NotARule)?,
                number: field(number).ok_or(NotARule)?,
            }),
            _ => Err(NotARule),
        }
    }
}

impl Rule {
    /// Applies the rule.
    pub(crate) fn mark<'a>(&self, message: &'a [u8]) -> Result<Marked<'a>, Unmarked> {
        let (name, number, body) = match self {
            Self::Prefix => prefix(message).ok_or(Unmarked::Prefix)?,
            Self::Json { name, number } => {
                let object = fields(message).ok_or(Unmarked::Json)?;
                let found = field(&object, name).ok_or(Unmarked::NoName)?;
                let name = serde_json::from_str(found).map_err(|_| Unmarked::NoName)?;
                let found = field(&object, number).ok_or(Unmarked::NoNumber)?;
                // Some write long numbers as text, for readers that have no 64 bits.
                (Cow::Owned(name), digits(found.trim_matches('"')), message)
            }
            Self::Protobuf { name, number } => {
                let (name, number) = scan(message, *name, *number).ok_or(Unmarked::Protobuf)?;
                let name = name.ok_or(Unmarked::NoName)?;
                let name = str::from_utf8(name).map_err(|_| Unmarked::Name)?;
                (Cow::Borrowed(name), number, message)
            }
        };
        let number = number
            .filter(|number| *number > 0)
            .ok_or(Unmarked::NoNumber)?;
        if is_name(&name) {
            Ok(Marked { name, number, body })
        } else {
            Err(Unmarked::Name)
        }
    }
}

/// Whether a subject, a key and a line can have it: it is a part of all of them.
pub(crate) fn is_name(name: &str) -> bool {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    name.len() <= LONGEST_NAME
        && name
            .split('.')
            .all(|token| !token.is_empty() && token.bytes().all(is_good))
}

/// A number in decimal digits alone.
pub(crate) fn digits(text: &str) -> Option<u64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_plain)
}

type Parts<'a> = (Cow<'a, str>, Option<u64>, &'a [u8]);

fn prefix(message: &[u8]) -> Option<Parts<'_>> {
    let mut parts = message.splitn(3, |byte| *byte == b' ');
    let name = str::from_utf8(parts.next()?).ok()?;
    let number = str::from_utf8(parts.next()?).ok()?;
    Some((Cow::Borrowed(name), digits(number), parts.next()?))
}

type Fields<'a> = HashMap<Cow<'a, str>, &'a RawValue>;

fn fields(text: &[u8]) -> Option<Fields<'_>> {
    serde_json::from_slice(text).ok()
}

/// The field at `path`, as it is written.
fn field<'a>(object: &Fields<'a>, path: &str) -> Option<&'a str> {
    if let Some(found) = object.get(path) {
        return Some(found.get());
    }
    let (outer, inner) = path.split_once('.')?;
    field(&fields(object.get(outer)?.get().as_bytes())?, inner)
}

/// The two fields of a protobuf message. `None` where it is none; of a field that is there several
/// times the last one counts, as protobuf has it.
fn scan(mut rest: &[u8], name: u32, number: u32) -> Option<(Option<&[u8]>, Option<u64>)> {
    let (mut found_name, mut found_number) = (None, None);
    while !rest.is_empty() {
        let key = varint(&mut rest)?;
        let field = u32::try_from(key >> 3).ok().filter(|field| *field > 0)?;
        match key & 7 {
            0 => {
                let value = varint(&mut rest)?;
                found_number = Some(value).filter(|_| field == number).or(found_number);
            }
            1 => {
                let (value, later) = rest.split_first_chunk()?;
                let value = u64::from_le_bytes(*value);
                found_number = Some(value).filter(|_| field == number).or(found_number);
                rest = later;
            }
            2 => {
                let len = usize::try_from(varint(&mut rest)?).ok()?;
                let (value, later) = rest.split_at_checked(len)?;
                found_name = Some(value).filter(|_| field == name).or(found_name);
                rest = later;
            }
            5 => rest = rest.split_first_chunk::<4>()?.1,
            // Groups were given up long ago.
            _ => return None,
        }
    }
    Some((found_name, found_number))
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for place in 0..10 {
        let (byte, later) = rest.split_first()?;
        *rest = later;
        let bits = u64::from(byte & 0x7f);
        if place == 9 && bits > 1 {
            return None;
        }
        value |= bits << (7 * place);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use prost::Message;

    #[derive(Clone, PartialEq, Message)]
    struct Event {
        #[prost(string, tag = "1")]
        host: String,
        #[prost(fixed64, tag = "2")]
        fixed: u64,
        #[prost(bytes, tag = "3")]
        text: Vec<u8>,
        #[prost(uint64, tag = "4")]
        varying: u64,
        #[prost(fixed32, tag = "5")]
        short: u32,
        #[prost(sint64, tag = "6")]
        signed: i64,
    }

    fn rule(text: &str) -> Rule {
        text.parse().unwrap()
    }

    fn marked<'a>(name: &'a str, number: u64, body: &'a [u8]) -> Marked<'a> {
        let name = Cow::Borrowed(name);
        Marked { name, number, body }
    }

    #[test]
    fn a_prefix_is_taken_off() {
        let rule = rule("prefix");
        assert_eq!(
            rule.mark(b"web.1 17 GET / 200"),
            Ok(marked("web.1", 17, b"GET / 200"))
        );
        assert_eq!(rule.mark(b"web 17 "), Ok(marked("web", 17, b"")));
        for (message, why) in [
            (&b"web 17"[..], Unmarked::Prefix),
            (b"", Unmarked::Prefix),
            (b"web +17 x", Unmarked::NoNumber),
            (b"web 0 x", Unmarked::NoNumber),
            (b"web 18446744073709551616 x", Unmarked::NoNumber),
            (b"w*b 17 x", Unmarked::Name),
            (b"web. 17 x", Unmarked::Name),
            (b" 17 x", Unmarked::Name),
            (b"w\xff 17 x", Unmarked::Prefix),
        ] {
            assert_eq!(rule.mark(message), Err(why), "{message:?}");
        }
    }

    #[test]
    fn fields_of_json_are_found_inside_others_too() {
        let line = br#"{"seq": 9, "app": {"name": "web", "n": "12"}, "a.b": "dot", "f": 1.5}"#;
        let mark = |text: &str| {
            rule(text)
                .mark(line)
                .map(|found| (found.name.into_owned(), found.number))
        };
        assert_eq!(mark("json:app.name,seq"), Ok(("web".to_owned(), 9)));
        assert_eq!(mark("json:a.b,app.n"), Ok(("dot".to_owned(), 12)));
        assert_eq!(mark("json:seq,seq"), Err(Unmarked::NoName));
        assert_eq!(mark("json:app,seq"), Err(Unmarked::NoName));
        assert_eq!(mark("json:app.name,f"), Err(Unmarked::NoNumber));
        assert_eq!(mark("json:app.name,g"), Err(Unmarked::NoNumber));
        assert_eq!(rule("json:a,b").mark(b"[1]"), Err(Unmarked::Json));
        assert_eq!(rule("json:a,b").mark(b"{\"a\":1} x"), Err(Unmarked::Json));
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for text in [
            "",
            "json",
            "json:a",
            "json:,b",
            "protobuf:0,1",
            "protobuf:a,1",
            "xml:a,b",
        ] {
            assert_eq!(text.parse::<Rule>(), Err(NotARule), "{text}");
        }
    }

    proptest! {
        #[test]
        fn fields_of_protobuf_are_those_that_prost_wrote(
            host in "[a-z]{1,20}",
            number in 1u64..,
            text in prop::collection::vec(any::<u8>(), 0..50),
            short: u32,
            signed: i64,
        ) {
            let event = Event { host, fixed: number, text, varying: number, short, signed };
            let bytes = event.encode_to_vec();
            for text in ["protobuf:1,2", "protobuf:1,4"] {
                prop_assert_eq!(rule(text).mark(&bytes), Ok(marked(&event.host, number, &bytes)));
            }
            // Cut anywhere, it is no other message.
            for end in 0..bytes.len() {
                if let Ok(found) = rule("protobuf:1,4").mark(&bytes[..end]) {
                    prop_assert_eq!((&*found.name, found.number), (&*event.host, number));
                }
            }
        }

        #[test]
        fn no_bytes_break_a_rule(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            for text in ["prefix", "json:a,b", "protobuf:1,2"] {
                if let Ok(found) = rule(text).mark(&bytes) {
                    prop_assert!(is_name(&found.name) && found.number > 0);
                }
            }
        }

        #[test]
        fn fields_of_json_are_those_that_were_written(
            name in "[a-zA-Z0-9_-]{1,20}", number in 1u64.., other in any::<String>(),
        ) {
            let line = serde_json::json!({"text": other, "name": name, "n": number}).to_string();
            prop_assert_eq!(
                rule("json:name,n").mark(line.as_bytes()),
                Ok(marked(&name, number, line.as_bytes()))
            );
        }
    }
}
