//! JSON-RPC 2.0 over a Unix socket, as the nodes of Ethereum speak it: for the questions that one
//! asks a daemon, beside the telemetry that it sends with a `Writer`. It is another wire than the
//! crate's: bare JSON values, with or without anything between them; each answer is a line.
//!
//! ```text
//! cargo run --example jsonrpc -- /tmp/node.ipc 1337
//! python3 examples/jsonrpc/client.py /tmp/node.ipc
//! ```
//!
//! The first argument is the socket's path, the second the number of the chain, 1337 unless given.
//! Only its own user, and root, can connect. It runs until SIGTERM or Ctrl-C. `client.py` asks with
//! web3.py; any client that has an IPC provider does.
//!
//! `values` finds the values in the stream, `dispatch` answers one, `node` has the methods; the
//! three are pure. `server` has the connections and their limits.

#![expect(
    clippy::print_stderr,
    reason = "this program's log is its standard error"
)]

mod dispatch;
mod node;
mod server;
mod values;

use std::env;
use std::error::Error;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use nix::sys::stat::{Mode, umask};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

use node::Node;
use server::{Limits, serve};

fn main() -> ExitCode {
    let Err(error) = run() else {
        return ExitCode::SUCCESS;
    };
    eprintln!("jsonrpc: {error}");
    ExitCode::FAILURE
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1);
    let path = PathBuf::from(arguments.next().ok_or("usage: jsonrpc SOCKET [CHAIN]")?);
    let chain = arguments.next().unwrap_or_else(|| "1337".into());
    let chain_id = chain.to_str().and_then(|chain| chain.parse().ok());
    let chain_id = chain_id.ok_or("the number of the chain is a number")?;

    // Before the socket is there: whoever sees it may signal us.
    let (stop, signalled) = UnixStream::pair()?;
    pipe::register(SIGTERM, signalled.try_clone()?)?;
    pipe::register(SIGINT, signalled)?;

    uds_ipc::create_socket_dir(&path)?;
    uds_ipc::remove_stale_socket(&path)?;
    let listener = bind(&path)?;
    let file = SocketFile::new(path)?;
    eprintln!("jsonrpc: listening at {}", file.path.display());

    let (node, start) = (Node { chain_id }, now());
    serve(&listener, &stop, &Limits::default(), &|method, params| {
        node.call(start.elapsed(), method, params)
    })?;
    Ok(())
}

/// With mode 0600 from the start: nobody else gets in between. The mask is the whole process's, and
/// there is no other thread yet.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let before = umask(Mode::from_bits_truncate(0o177));
    let bound = UnixListener::bind(path);
    umask(before);
    bound
}

/// Removes the socket when it is dropped, unless another one has taken its place.
struct SocketFile {
    path: PathBuf,
    id: (u64, u64),
}

impl SocketFile {
    fn new(path: PathBuf) -> io::Result<Self> {
        let id = id(&path)?;
        Ok(Self { path, id })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if id(&self.path).is_ok_and(|id| id == self.id) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn id(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the node's age is read from the clock"
)]
fn now() -> Instant {
    Instant::now()
}
