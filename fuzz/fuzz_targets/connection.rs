//! Any stream in any pieces, through a socket to a reader in this process: its handler gets just
//! what an independent decoder finds.
#![no_main]

mod pieces;

use std::convert::Infallible;
use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, OnceLock};

use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;
use uds_ipc::{Handler, Peer, Reader};

const LIMIT: usize = 300_000;

/// Gathers what one connection brings; tells it when that is closed.
struct Gatherer(Mutex<Vec<Vec<u8>>>, Sender<Vec<Vec<u8>>>);

impl Handler for Gatherer {
    type Error = Infallible;

    fn message(&self, message: &[u8], _: &Peer) -> Result<(), Infallible> {
        self.0.lock().unwrap().push(message.to_vec());
        Ok(())
    }

    fn closed(&self, _: &Peer) {
        let _ = self.1.send(std::mem::take(&mut self.0.lock().unwrap()));
    }
}

struct World {
    directory: TempDir,
    _reader: Reader,
    gathered: Mutex<Receiver<Vec<Vec<u8>>>>,
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        let (tell, gathered) = channel();
        let bound = Reader::builder(directory.path().join("s")).max_message_len(LIMIT).bind().unwrap();
        let reader = bound.start_handler(Gatherer(Mutex::default(), tell)).unwrap();
        World { directory, _reader: reader, gathered: Mutex::new(gathered) }
    })
}

fuzz_target!(|input: &[u8]| {
    let world = world();
    let (parts, stream) = pieces::cut(input);
    let mut expected: Vec<_> = pieces::decode(stream, LIMIT as u64).0;
    expected.retain(|message| !message.is_empty());
    let mut writer = UnixStream::connect(world.directory.path().join("s")).unwrap();
    for part in parts {
        // It hangs up on what is no stream of frames.
        if writer.write_all(part).is_err() {
            break;
        }
    }
    let _ = writer.shutdown(Shutdown::Write);
    let gathered = world.gathered.lock().unwrap().recv().unwrap();
    assert_eq!(gathered, expected);
});
