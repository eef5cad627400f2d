//! A blocking Unix socket with a thread at each end.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;

use crate::process::Order;
use crate::work::{self, Blocking, OPEN, Work};

/// Of a thread of the answering end.
const STACK_SIZE: usize = 64 * 1024;

/// How much is read at a time.
const READ_SIZE: usize = 64 * 1024;

pub(super) fn answer(path: &Path) {
    let listener = UnixListener::bind(path).expect("a socket");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.expect("a peer");
            let thread = thread::Builder::new().stack_size(STACK_SIZE);
            thread.spawn(move || echo(stream)).expect("a thread");
        }
    });
}

/// What came goes back, as much as there is.
fn echo(mut stream: UnixStream) {
    // What is not used of it takes no memory.
    let mut buffer = vec![0; READ_SIZE];
    while let Ok(len @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..len]).is_err() {
            break;
        }
    }
}

struct Client {
    stream: UnixStream,
    answer: Vec<u8>,
}

impl Blocking for Client {
    fn connect(path: &Path) -> Self {
        Self {
            stream: UnixStream::connect(path).expect("it listens"),
            answer: Vec::new(),
        }
    }

    fn call(&mut self, body: &[u8]) {
        self.answer.resize(body.len(), 0);
        self.stream.write_all(body).expect("it is there");
        self.stream
            .read_exact(&mut self.answer)
            .expect("it answers");
    }
}

pub(super) fn call(order: &Order, path: &Path) {
    let (each, len) = match order.work {
        Some(Work::One) => (1, order.len),
        Some(_) => (OPEN, order.len * OPEN),
        None => return work::idle::<Client>(order, path),
    };
    let mut client = Client::connect(path);
    let body = vec![7; len];
    work::repeat(order, each, || client.call(&body));
}
