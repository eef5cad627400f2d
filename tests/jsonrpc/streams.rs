//! What the example `jsonrpc` takes for the values of a stream, however the bytes arrive.

use std::ops::Range;

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value};

use super::server::Limits;
use super::values::{SplitError, Splitter};

const MAX_LEN: usize = 1000;
const MAX_DEPTH: usize = 20;

/// The values, and how the stream ended, with the bytes in pieces of these lengths by turns.
fn split(bytes: &[u8], pieces: &[usize]) -> (Vec<Vec<u8>>, Option<SplitError>) {
    let mut splitter = Splitter::new(MAX_LEN, MAX_DEPTH);
    let mut values = Vec::new();
    let mut rest = bytes;
    for &len in pieces.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let mut piece;
        (piece, rest) = rest.split_at(len.clamp(1, rest.len()));
        loop {
            match splitter.take(&mut piece) {
                Ok(Some(value)) => {
                    assert!(splitter.is_between_values());
                    values.push(value);
                }
                Ok(None) => break,
                Err(error) => return (values, Some(error)),
            }
        }
        assert!(piece.is_empty(), "it takes all that it is given");
    }
    match splitter.end() {
        Ok(value) => (values.into_iter().chain(value).collect(), None),
        Err(error) => (values, Some(error)),
    }
}

#[test]
fn values_of_every_kind_need_nothing_between_them_unless_both_are_words() {
    let malformed = Some(SplitError::Malformed);
    for (stream, expected, error) in [
        ("", &[][..], None),
        (" \t\r\n", &[], None),
        (
            "{}{}[][]\"\"\"\"",
            &["{}", "{}", "[]", "[]", "\"\"", "\"\""],
            None,
        ),
        (
            "1 2\n-3.5e+7\ttrue false\r\nnull",
            &["1", "2", "-3.5e+7", "true", "false", "null"],
            None,
        ),
        (
            "1{\"a\":2}null[true]false\"x\"0",
            &["1", "{\"a\":2}", "null", "[true]", "false", "\"x\"", "0"],
            None,
        ),
        // Brackets in strings, quotes behind backslashes, backslashes behind backslashes.
        (
            r#"["]}\"]"]{"\\":"}"}"\\" "\"" "#,
            &[r#"["]}\"]"]"#, r#"{"\\":"}"}"#, r#""\\""#, r#""\"""#],
            None,
        ),
        // Not well formed inside: the parser's task.
        (
            "[1 2,,]{1}truefalse 01 -",
            &["[1 2,,]", "{1}", "truefalse", "01", "-"],
            None,
        ),
        ("{} ]", &["{}"], malformed),
        ("1,2", &["1"], malformed),
        ("GET / HTTP/1.1\r\n", &[], malformed),
        ("\u{feff}{}", &[], malformed),
        ("[1}", &[], malformed),
        (r#"[{"jsonrpc": "2.0", "method" ]"#, &[], malformed),
        // The end comes too early.
        ("{} {\"a\":", &["{}"], malformed),
        ("\"abc", &[], malformed),
        ("\"abc\\", &[], malformed),
    ] {
        for pieces in [&[usize::MAX][..], &[1], &[2], &[3, 1]] {
            let (values, ended) = split(stream.as_bytes(), pieces);
            let expected: Vec<_> = expected.iter().map(|value| value.as_bytes()).collect();
            assert_eq!(
                (values, ended),
                (expected.iter().map(|value| value.to_vec()).collect(), error),
                "{stream}"
            );
        }
    }
}

#[test]
fn a_value_is_as_long_as_it_may_be_and_no_longer() {
    let max_len = MAX_LEN;
    for fits in [
        "1".repeat(MAX_LEN),
        format!("\"{}\"", "x".repeat(MAX_LEN - 2)),
        format!("[{}]", " ".repeat(MAX_LEN - 2)),
    ] {
        // What is around a value does not count.
        let around = format!("{0}{fits}{0}{fits}{0}", " ".repeat(MAX_LEN + 1));
        let longer = format!("{}1{}", &fits[..1], &fits[1..]);
        for pieces in [&[usize::MAX][..], &[1], &[7, 500]] {
            let both = vec![fits.clone().into_bytes(); 2];
            assert_eq!(split(around.as_bytes(), pieces), (both, None));
            let error = SplitError::TooLong { max_len };
            assert_eq!(split(longer.as_bytes(), pieces), (vec![], Some(error)));
        }
    }
}

#[test]
fn a_value_is_as_deep_as_it_may_be_and_no_deeper() {
    let nested = |depth: usize| {
        let open = ["[", "{\"a\":"]
            .into_iter()
            .cycle()
            .take(depth)
            .collect::<String>();
        let close = ["]", "}"]
            .into_iter()
            .cycle()
            .take(depth)
            .collect::<Vec<_>>();
        open + "1" + &close.into_iter().rev().collect::<String>()
    };
    let deep = nested(MAX_DEPTH);
    // The depth is that of one value: it does not add up.
    let (values, error) = split(deep.repeat(3).as_bytes(), &[1]);
    assert_eq!((values, error), (vec![deep.into_bytes(); 3], None));
    let (values, error) = split(nested(MAX_DEPTH + 1).as_bytes(), &[1]);
    let max_depth = MAX_DEPTH;
    assert_eq!(
        (values.len(), error),
        (0, Some(SplitError::TooDeep { max_depth }))
    );
    // Brackets in a string are no depth.
    let text = format!("\"{}\"", "[".repeat(MAX_DEPTH + 1));
    assert_eq!(
        split(text.as_bytes(), &[1]),
        (vec![text.into_bytes()], None)
    );
}

#[test]
fn the_parser_goes_as_deep_as_the_limit_of_the_server() {
    let depth = Limits::default().max_depth;
    let deep = "[".repeat(depth) + &"]".repeat(depth);
    serde_json::from_str::<Value>(&deep).unwrap();
}

/// Any JSON value.
fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e9..1e9).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        r#"[\\"\[\]{}]*"#.prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 20, 5, |inner| {
        let member = (r#"[a-z\\"{}]*"#, inner.clone());
        prop_oneof![
            vec(inner, 0..5).prop_map(Value::from),
            vec(member, 0..5).prop_map(|members| Value::from(Map::from_iter(members))),
        ]
    })
}

/// Lengths of pieces.
fn pieces() -> impl Strategy<Value = Vec<usize>> {
    let lengths: Range<usize> = 1..50;
    vec(lengths, 1..10)
}

/// What a stream is to a parser that has all of it: its values up to the first fault.
fn parsed(stream: &[u8]) -> Vec<Value> {
    let values = serde_json::Deserializer::from_slice(stream).into_iter();
    values.map_while(Result::ok).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_values_are_found_whatever_the_pieces_in_which_they_come(
        values in vec((json(), "[ \t\r\n]{1,3}", any::<bool>()), 0..10),
        pieces in pieces(),
    ) {
        let mut stream = String::new();
        let mut expected = Vec::new();
        for (value, space, is_pretty) in values {
            let text = if is_pretty { format!("{value:#}") } else { value.to_string() };
            if text.len() <= MAX_LEN {
                stream += &text;
                // Two words in a row would be one.
                let is_word = !text.ends_with(['"', ']', '}']);
                stream += if is_word || is_pretty { &space } else { "" };
                expected.push(text.into_bytes());
            }
        }
        prop_assert_eq!(split(stream.as_bytes(), &pieces), (expected, None));
    }

    #[test]
    fn of_any_bytes_it_finds_the_values_that_a_parser_finds(
        stream in r#"([\[\]{}",:\\ \n]|true|nul|[0-9.e-]|a|[^ -~]){0,40}"#,
        pieces in pieces(),
    ) {
        let (values, error) = split(stream.as_bytes(), &pieces);
        prop_assert_eq!((&values, error), (&split(stream.as_bytes(), &[usize::MAX]).0, split(stream.as_bytes(), &[1]).1));
        let values = values.iter().map_while(|value| serde_json::from_slice(value).ok());
        prop_assert_eq!(values.collect::<Vec<Value>>(), parsed(stream.as_bytes()));
    }
}
