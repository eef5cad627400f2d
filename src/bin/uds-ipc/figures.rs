//! The figures as a JSON value.
//! A value: the keys are the fields of the library's structs, nested as they are.

use serde::Serialize;
use serde_json::Value;

pub(crate) fn of(metrics: impl Serialize) -> Value {
    // Structs of numbers can always be written.
    serde_json::to_value(metrics).unwrap_or_default()
}
