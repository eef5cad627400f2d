//! JSON-RPC 2.0: what one JSON value is answered with.
//! Pure: no I/O, no clock. What the methods are, and do, is the caller's.

use std::fmt::Write;

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;
use thiserror::Error;

use super::values::SplitError;

/// Calls the method of that name. The parameters are an array, an object, or missing.
pub(crate) type Methods<'a> =
    dyn Fn(&str, Option<&RawValue>) -> Result<Value, RpcError> + Sync + 'a;

/// The errors of the specification, <https://www.jsonrpc.org/specification>, and the one that
/// Ethereum nodes have for limits, <https://eips.ethereum.org/EIPS/eip-1474>.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum RpcError {
    #[error("Parse error")]
    Parse,
    #[error("Invalid Request")]
    InvalidRequest,
    #[error("Method not found")]
    MethodNotFound,
    #[error("Invalid params")]
    InvalidParams,
    #[error("Limit exceeded: {0}")]
    LimitExceeded(String),
}

impl RpcError {
    fn code(&self) -> i32 {
        match self {
            Self::Parse => -32700,
            Self::InvalidRequest => -32600,
            Self::MethodNotFound => -32601,
            Self::InvalidParams => -32602,
            Self::LimitExceeded(_) => -32005,
        }
    }

    /// The answer to what has no id that is known, without a line end.
    pub(crate) fn without_id(self) -> String {
        response(RawValue::NULL, Err(self))
    }
}

impl From<SplitError> for RpcError {
    fn from(error: SplitError) -> Self {
        match error {
            SplitError::Malformed => Self::Parse,
            SplitError::TooLong { .. } | SplitError::TooDeep { .. } => {
                Self::LimitExceeded(error.to_string())
            }
        }
    }
}

/// What one value is answered with: text without a line end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// There were notifications only.
    Nothing,
    Text(String),
    /// It was no JSON. What comes behind it could be anything.
    Last(String),
}

/// A value is a call, a notification, or a batch of at most `max_batch_len` of these.
pub(crate) fn answer(value: &[u8], max_batch_len: usize, methods: &Methods<'_>) -> Answer {
    // Only the parts that matter are made into values: an id goes back as it was written, and a
    // long batch takes little memory.
    let Ok(value) = serde_json::from_slice::<&RawValue>(value) else {
        return Answer::Last(RpcError::Parse.without_id());
    };
    let Ok(batch) = serde_json::from_str::<Vec<&RawValue>>(value.get()) else {
        return call(value, methods).map_or(Answer::Nothing, Answer::Text);
    };
    if batch.is_empty() {
        return Answer::Text(RpcError::InvalidRequest.without_id());
    }
    if batch.len() > max_batch_len {
        let limit = format!("a batch of more than {max_batch_len} calls");
        return Answer::Text(RpcError::LimitExceeded(limit).without_id());
    }
    let answers = batch.iter().filter_map(|value| call(value, methods));
    let answers: Vec<_> = answers.collect();
    if answers.is_empty() {
        return Answer::Nothing;
    }
    Answer::Text(format!("[{}]", answers.join(",")))
}

/// As they were written. Others that there may be are ignored.
#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow)]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Option<&'a RawValue>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    /// A call may have the id `null`; a notification has none.
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
}

fn present<'de, D: Deserializer<'de>>(member: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(member).map(Some)
}

/// The answer to one value that is no batch; none to a notification.
fn call(value: &RawValue, methods: &Methods<'_>) -> Option<String> {
    // An array would be taken for the members in order.
    let is_object = value.get().starts_with('{');
    let members = serde_json::from_str::<Members<'_>>(value.get());
    let Some(members) = members.ok().filter(|_| is_object) else {
        return Some(RpcError::InvalidRequest.without_id());
    };
    let id = match members.id {
        Some(id) if !is_id(id) => return Some(RpcError::InvalidRequest.without_id()),
        id => id,
    };
    let Some(method) = method(&members) else {
        // Without an id it is answered too: it may be a call whose id was forgotten.
        let id = id.unwrap_or(RawValue::NULL);
        return Some(response(id, Err(RpcError::InvalidRequest)));
    };
    let outcome = methods(&method, members.params);
    id.map(|id| response(id, outcome))
}

fn is_id(id: &RawValue) -> bool {
    let is_word = id.get() == "true" || id.get() == "false";
    !is_word && !id.get().starts_with(['[', '{'])
}

/// The method of a request that is valid.
fn method(members: &Members<'_>) -> Option<String> {
    let text = |member: Option<&RawValue>| serde_json::from_str::<String>(member?.get()).ok();
    let is_valid = text(members.jsonrpc)? == "2.0"
        && members
            .params
            .is_none_or(|params| params.get().starts_with(['[', '{']));
    text(members.method).filter(|_| is_valid)
}

/// All of it in one line: neither a value that serde writes nor an id has a line end in it.
fn response(id: &RawValue, outcome: Result<Value, RpcError>) -> String {
    let mut text = r#"{"jsonrpc":"2.0","#.to_owned();
    let written = match outcome {
        Ok(result) => write!(text, r#""result":{result}"#),
        Err(error) => {
            let (code, message) = (error.code(), Value::from(error.to_string()));
            write!(text, r#""error":{{"code":{code},"message":{message}}}"#)
        }
    };
    debug_assert!(written.is_ok(), "a string takes what is written to it");
    text.push_str(r#","id":"#);
    text.push_str(id.get());
    text.push('}');
    text
}
