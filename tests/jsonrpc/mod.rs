//! The example `jsonrpc`: its parts, its limits over real sockets, and web3.py.

#[path = "../../examples/jsonrpc/dispatch.rs"]
mod dispatch;
#[path = "../../examples/jsonrpc/node.rs"]
mod node;
#[path = "../../examples/jsonrpc/server.rs"]
mod server;
#[path = "../../examples/jsonrpc/values.rs"]
mod values;

mod calls;
mod connections;
mod processes;
mod streams;
