//! The methods: those that every client of an Ethereum node asks for first.
//! Pure: the clock is an argument.

use std::env::consts::{ARCH, OS};
use std::time::Duration;

use serde_json::Value;
use serde_json::value::RawValue;

use super::dispatch::RpcError;

/// A node whose chain gets a block every second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    pub(crate) chain_id: u64,
}

impl Node {
    /// `age` is how long the node has been running.
    pub(crate) fn call(
        self,
        age: Duration,
        method: &str,
        params: Option<&RawValue>,
    ) -> Result<Value, RpcError> {
        let answer = match method {
            "web3_clientVersion" => {
                format!("uds-ipc/v{}/{OS}-{ARCH}", env!("CARGO_PKG_VERSION"))
            }
            // In hexadecimal, all but this one.
            "net_version" => self.chain_id.to_string(),
            "eth_chainId" => format!("{:#x}", self.chain_id),
            "eth_blockNumber" => format!("{:#x}", age.as_secs()),
            _ => return Err(RpcError::MethodNotFound),
        };
        // None of them has parameters.
        let params = params.map_or(Ok(Value::Null), |params| serde_json::from_str(params.get()));
        match params {
            Ok(Value::Null) => Ok(answer.into()),
            Ok(Value::Array(params)) if params.is_empty() => Ok(answer.into()),
            Ok(Value::Object(params)) if params.is_empty() => Ok(answer.into()),
            _ => Err(RpcError::InvalidParams),
        }
    }
}
