//! What the example `jsonrpc` answers to one value: the examples of the specification, and what
//! they leave out.

use std::sync::Mutex;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::dispatch::{Answer, RpcError, answer};
use super::node::Node;

const MAX_BATCH_LEN: usize = 10;

/// The methods of the specification's examples.
fn example(method: &str, params: Option<&RawValue>) -> Result<Value, RpcError> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Subtract {
        ByPosition(i64, i64),
        ByName { minuend: i64, subtrahend: i64 },
    }
    let params = params.map_or("[]", RawValue::get);
    match method {
        "subtract" => match serde_json::from_str(params) {
            Ok(
                Subtract::ByPosition(minuend, subtrahend)
                | Subtract::ByName {
                    minuend,
                    subtrahend,
                },
            ) => Ok((minuend - subtrahend).into()),
            Err(_) => Err(RpcError::InvalidParams),
        },
        "sum" => match serde_json::from_str::<Vec<i64>>(params) {
            Ok(numbers) => Ok(numbers.iter().sum::<i64>().into()),
            Err(_) => Err(RpcError::InvalidParams),
        },
        "get_data" => Ok(json!(["hello", 5])),
        "nothing" => Ok(Value::Null),
        "update" | "notify_hello" | "notify_sum" => Ok(true.into()),
        _ => Err(RpcError::MethodNotFound),
    }
}

fn asked(value: &str) -> Answer {
    answer(value.as_bytes(), MAX_BATCH_LEN, &example)
}

/// The answer as a value, where the stream goes on.
fn answered(value: &str) -> Option<Value> {
    match asked(value) {
        Answer::Nothing => None,
        Answer::Text(text) => Some(serde_json::from_str(&text).expect("JSON")),
        Answer::Last(text) => panic!("{text}"),
    }
}

/// An error as the specification has it.
#[expect(
    clippy::needless_pass_by_value,
    reason = "what `json!` makes is a value"
)]
fn error(code: i32, message: &str, id: Value) -> Value {
    json!({"jsonrpc": "2.0", "error": {"code": code, "message": message}, "id": id})
}

fn invalid_request(id: Value) -> Value {
    error(-32600, "Invalid Request", id)
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "what `json!` makes is a value"
)]
fn result(result: Value, id: Value) -> Value {
    json!({"jsonrpc": "2.0", "result": result, "id": id})
}

#[test]
fn the_calls_of_the_specification_are_answered_as_it_says() {
    for (call, expected) in [
        // With parameters by position, and by name.
        (
            r#"{"jsonrpc": "2.0", "method": "subtract", "params": [42, 23], "id": 1}"#,
            Some(result(json!(19), json!(1))),
        ),
        (
            r#"{"jsonrpc": "2.0", "method": "subtract", "params": [23, 42], "id": 2}"#,
            Some(result(json!(-19), json!(2))),
        ),
        (
            r#"{"jsonrpc": "2.0", "method": "subtract", "params": {"subtrahend": 23, "minuend": 42}, "id": 3}"#,
            Some(result(json!(19), json!(3))),
        ),
        (
            r#"{"jsonrpc": "2.0", "method": "subtract", "params": {"minuend": 42, "subtrahend": 23}, "id": 4}"#,
            Some(result(json!(19), json!(4))),
        ),
        // Notifications.
        (
            r#"{"jsonrpc": "2.0", "method": "update", "params": [1,2,3,4,5]}"#,
            None,
        ),
        (r#"{"jsonrpc": "2.0", "method": "foobar"}"#, None),
        // A method that there is not, and a request that is none.
        (
            r#"{"jsonrpc": "2.0", "method": "foobar", "id": "1"}"#,
            Some(error(-32601, "Method not found", json!("1"))),
        ),
        (
            r#"{"jsonrpc": "2.0", "method": 1, "params": "bar"}"#,
            Some(invalid_request(json!(null))),
        ),
        // Batches: empty, of what are no requests, mixed, and of notifications.
        ("[]", Some(invalid_request(json!(null)))),
        ("[1]", Some(json!([invalid_request(json!(null))]))),
        (
            "[1,2,3]",
            Some(json!([
                invalid_request(json!(null)),
                invalid_request(json!(null)),
                invalid_request(json!(null))
            ])),
        ),
        (
            r#"[
            {"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},
            {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]},
            {"jsonrpc": "2.0", "method": "subtract", "params": [42,23], "id": "2"},
            {"foo": "boo"},
            {"jsonrpc": "2.0", "method": "foo.get", "params": {"name": "myself"}, "id": "5"},
            {"jsonrpc": "2.0", "method": "get_data", "id": "9"}
        ]"#,
            Some(json!([
                result(json!(7), json!("1")),
                result(json!(19), json!("2")),
                invalid_request(json!(null)),
                error(-32601, "Method not found", json!("5")),
                result(json!(["hello", 5]), json!("9")),
            ])),
        ),
        (
            r#"[
            {"jsonrpc": "2.0", "method": "notify_sum", "params": [1,2,4]},
            {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]}
        ]"#,
            None,
        ),
    ] {
        assert_eq!(answered(call), expected, "{call}");
    }
}

#[test]
fn what_is_no_json_is_the_last_that_is_answered() {
    for value in [
        // The two of the specification.
        r#"{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]"#,
        r#"[
            {"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},
            {"jsonrpc": "2.0", "method"
        ]"#,
        "",
        "truefalse",
        "{\"id\":01}",
        "[1,]",
        "{} {}",
        "\"a\nb\"",
    ] {
        let Answer::Last(text) = asked(value) else {
            panic!("{value}");
        };
        let parse_error = error(-32700, "Parse error", json!(null));
        assert_eq!(
            serde_json::from_str::<Value>(&text).unwrap(),
            parse_error,
            "{value}"
        );
    }
    assert!(matches!(
        answer(b"\"\xff\"", MAX_BATCH_LEN, &example),
        Answer::Last(_)
    ));
}

#[test]
fn an_id_comes_back_as_it_was_written() {
    for id in [
        "0",
        "-1",
        "18446744073709551615",
        "123456789012345678901234567890",
        "1.0",
        "1e400",
        "null",
        r#""""#,
        r#""a""#,
        r#""\u0041\n\"""#,
        r#""\ud800""#,
        "\"ü\u{2028}\"",
    ] {
        let call = format!(r#"{{"id":{id} ,"method":"nothing","jsonrpc":"2.0"}}"#);
        let expected = format!(r#"{{"jsonrpc":"2.0","result":null,"id":{id}}}"#);
        assert_eq!(asked(&call), Answer::Text(expected));
        let batch = format!("[{call}, {call}]");
        let expected = format!(
            r#"[{{"jsonrpc":"2.0","result":null,"id":{id}}},{{"jsonrpc":"2.0","result":null,"id":{id}}}]"#
        );
        assert_eq!(asked(&batch), Answer::Text(expected));
    }
}

#[test]
fn a_request_that_is_invalid_is_answered_with_its_id_if_that_is_one() {
    for (call, id) in [
        ("1", json!(null)),
        ("\"x\"", json!(null)),
        ("null", json!(null)),
        ("{}", json!(null)),
        (r#"{"method":"sum","id":1}"#, json!(1)),
        (r#"{"jsonrpc":"1.0","method":"sum","id":1}"#, json!(1)),
        (r#"{"jsonrpc":2.0,"method":"sum","id":1}"#, json!(1)),
        (r#"{"jsonrpc":"2.0","id":"x"}"#, json!("x")),
        (r#"{"jsonrpc":"2.0","method":null,"id":null}"#, json!(null)),
        (r#"{"jsonrpc":"2.0","method":["sum"],"id":1}"#, json!(1)),
        (
            r#"{"jsonrpc":"2.0","method":"sum","params":1,"id":1}"#,
            json!(1),
        ),
        (
            r#"{"jsonrpc":"2.0","method":"sum","params":"x","id":1}"#,
            json!(1),
        ),
        (r#"{"jsonrpc":"2.0","method":"sum","id":true}"#, json!(null)),
        (
            r#"{"jsonrpc":"2.0","method":"sum","id":false}"#,
            json!(null),
        ),
        (r#"{"jsonrpc":"2.0","method":"sum","id":[1]}"#, json!(null)),
        (r#"{"jsonrpc":"2.0","method":"sum","id":{}}"#, json!(null)),
        (
            r#"{"jsonrpc":"2.0","method":"sum","id":1,"id":2}"#,
            json!(null),
        ),
    ] {
        assert_eq!(answered(call), Some(invalid_request(id)), "{call}");
    }
    // Batches in batches, and members in order, are no requests.
    for batch in ["[[]]", r#"[["2.0","sum",[1],1]]"#] {
        assert_eq!(
            answered(batch),
            Some(json!([invalid_request(json!(null))])),
            "{batch}"
        );
    }
}

#[test]
fn a_method_is_found_by_what_its_name_says_and_other_members_are_ignored() {
    let call =
        r#"{"jsonrpc":"\u0032.0","method":"s\u0075m","params":[1,2],"id":1,"more":{"id":[2]}}"#;
    assert_eq!(answered(call), Some(result(json!(3), json!(1))));
    let call = r#"{"jsonrpc":"2.0","method":"sum","params":null,"id":1}"#;
    assert_eq!(answered(call), Some(result(json!(0), json!(1))));
    let call = r#"{"jsonrpc":"2.0","method":"sum","params":{"a":1},"id":1}"#;
    assert_eq!(
        answered(call),
        Some(error(-32602, "Invalid params", json!(1)))
    );
}

#[test]
fn a_batch_has_a_bound() {
    let call = r#"{"jsonrpc":"2.0","method":"sum","params":[1,2],"id":1}"#;
    let batch = |len: usize| format!("[{}]", vec![call; len].join(","));
    let most = vec![result(json!(3), json!(1)); MAX_BATCH_LEN];
    assert_eq!(answered(&batch(MAX_BATCH_LEN)), Some(json!(most)));
    let refused = error(
        -32005,
        "Limit exceeded: a batch of more than 10 calls",
        json!(null),
    );
    assert_eq!(answered(&batch(MAX_BATCH_LEN + 1)), Some(refused));
}

#[test]
fn notifications_are_carried_out_and_calls_are_in_order() {
    let called = Mutex::new(Vec::new());
    let method = |method: &str, _: Option<&RawValue>| {
        called.lock().unwrap().push(method.to_owned());
        Err(RpcError::InvalidParams)
    };
    let batch = r#"[{"jsonrpc":"2.0","method":"a"},{"jsonrpc":"2.0","method":"b"},{"jsonrpc":"1","method":"c"}]"#;
    assert!(matches!(
        answer(batch.as_bytes(), MAX_BATCH_LEN, &method),
        Answer::Text(_)
    ));
    let single = r#"{"jsonrpc":"2.0","method":"d"}"#;
    assert_eq!(
        answer(single.as_bytes(), MAX_BATCH_LEN, &method),
        Answer::Nothing
    );
    assert_eq!(*called.lock().unwrap(), ["a", "b", "d"]);
}

#[test]
fn the_node_says_what_it_is_in_the_form_of_ethereum() {
    let node = Node { chain_id: 1337 };
    let asked = |seconds: u64, method, params: Option<&str>| {
        let params = params.map(|params| serde_json::from_str::<&RawValue>(params).unwrap());
        node.call(Duration::from_millis(seconds * 1000 + 999), method, params)
    };
    for params in [None, Some("[]"), Some("{}"), Some("null")] {
        assert_eq!(asked(0, "eth_chainId", params), Ok("0x539".into()));
        assert_eq!(asked(0, "net_version", params), Ok("1337".into()));
        assert_eq!(asked(0, "eth_blockNumber", params), Ok("0x0".into()));
        assert_eq!(asked(90, "eth_blockNumber", params), Ok("0x5a".into()));
        let version = asked(0, "web3_clientVersion", params).unwrap();
        let start = format!("uds-ipc/v{}/", env!("CARGO_PKG_VERSION"));
        assert!(version.as_str().unwrap().starts_with(&start), "{version}");
    }
    for params in ["[1]", r#"{"a":1}"#, "[1e999]"] {
        assert_eq!(
            asked(0, "eth_chainId", Some(params)),
            Err(RpcError::InvalidParams)
        );
    }
    assert_eq!(asked(0, "eth_chainid", None), Err(RpcError::MethodNotFound));
}

/// A part of a request, right or wrong.
fn member(
    name: &'static str,
    right: &'static [&'static str],
) -> impl Strategy<Value = Option<String>> {
    let wrong = ["1", "null", "true", "\"x\"", "[]", "{}", "[[1]]"];
    let values = right.iter().chain(&wrong).copied().collect::<Vec<_>>();
    prop::option::weighted(0.9, prop::sample::select(values))
        .prop_map(move |value| value.map(|value| format!("\"{name}\":{value}")))
}

fn request() -> impl Strategy<Value = String> {
    let members = (
        member("jsonrpc", &["\"2.0\""; 10]),
        member(
            "method",
            &["\"sum\"", "\"subtract\"", "\"nothing\"", "\"none\""],
        ),
        member(
            "params",
            &["[1,2]", "[1]", "{\"minuend\":2,\"subtrahend\":1}"],
        ),
        member("id", &["0", "7", "\"a\"", "1.5"]),
    );
    members.prop_map(|(jsonrpc, method, params, id)| {
        let members: Vec<_> = [jsonrpc, method, params, id]
            .into_iter()
            .flatten()
            .collect();
        format!("{{{}}}", members.join(","))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_batch_is_answered_as_its_requests_one_by_one(
        requests in vec(request(), 1..MAX_BATCH_LEN),
    ) {
        let single: Vec<_> = requests.iter().filter_map(|request| answered(request)).collect();
        for answer in &single {
            prop_assert_eq!(&answer["jsonrpc"], "2.0");
            prop_assert!(answer.get("id").is_some());
            prop_assert!(answer.get("result").is_some() != answer.get("error").is_some());
        }
        let batch = answered(&format!("[{}]", requests.join(",")));
        let expected = (!single.is_empty()).then(|| Value::from(single));
        prop_assert_eq!(batch, expected);
    }

    #[test]
    fn any_bytes_are_answered_in_one_line_that_is_json(
        bytes in prop_oneof![
            vec(any::<u8>(), 0..50),
            r#"[\[\]{}",:0-9a-z\n ]{0,50}"#.prop_map(String::into_bytes),
        ],
    ) {
        let text = match answer(&bytes, MAX_BATCH_LEN, &example) {
            Answer::Nothing => return Ok(()),
            Answer::Text(text) | Answer::Last(text) => text,
        };
        prop_assert!(!text.contains('\n'));
        prop_assert!(serde_json::from_str::<Value>(&text).is_ok(), "{}", text);
    }
}
