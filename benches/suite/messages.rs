//! What is sent, and what must have come.

use std::fs;
use std::iter;

use criterion::Throughput;

/// Messages that are sent over and over again.
pub(crate) struct Messages(Vec<Vec<u8>>);

/// How many messages there were, the sum of their lengths, and that of their first and last bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen(pub(crate) [u64; 3]);

impl Seen {
    #[inline]
    pub(crate) fn add(&mut self, message: &[u8]) {
        let [messages, bytes, ends] = &mut self.0;
        *messages += 1;
        *bytes += to_u64(message.len());
        if let [first, ..] = message {
            *ends += u64::from(*first) + u64::from(message[message.len() - 1]);
        }
    }
}

impl Messages {
    /// One of `len` bytes.
    pub(crate) fn of(len: usize) -> Self {
        Self(vec![
            (0..len)
                .map(|at| u8::try_from(at % 251).unwrap_or(0))
                .collect(),
        ])
    }

    /// The lines of the files in the folder that `UDS_IPC_LINES` names; without it, lines that look
    /// like those of some common logs, of 50 to 330 bytes.
    pub(crate) fn log_lines() -> Self {
        let Some(folder) = std::env::var_os("UDS_IPC_LINES") else {
            return Self(made_up_lines());
        };
        let files = fs::read_dir(folder).expect("UDS_IPC_LINES names a folder");
        let paths = files
            .map(|file| file.expect("a file").path())
            .filter(|path| path.is_file());
        let texts: Vec<_> = paths
            .map(|path| fs::read(path).expect("a file that may be read"))
            .collect();
        let lines = texts
            .iter()
            .flat_map(|text| text.split(|byte| *byte == b'\n'));
        let lines: Vec<_> = lines
            .filter(|line| !line.is_empty())
            .map(<[u8]>::to_vec)
            .collect();
        assert!(!lines.is_empty(), "UDS_IPC_LINES has lines");
        Self(lines)
    }

    pub(crate) fn first(&self) -> &[u8] {
        &self.0[0]
    }

    /// The first `count`, beginning anew where they end.
    pub(crate) fn take(&self, count: u64) -> impl Iterator<Item = &[u8]> {
        let count = usize::try_from(count).expect("a size");
        self.0.iter().cycle().take(count).map(Vec::as_slice)
    }

    /// What a handler must have seen of these `count`.
    pub(crate) fn seen(&self, count: u64) -> Seen {
        let mut seen = Seen::default();
        self.take(count).for_each(|message| seen.add(message));
        seen
    }

    /// What one of them counts for.
    pub(crate) fn throughput(&self) -> Throughput {
        let bytes: usize = self.0.iter().map(Vec::len).sum();
        Throughput::ElementsAndBytes {
            elements: 1,
            bytes: to_u64(bytes / self.0.len()),
        }
    }

    /// The first as a frame.
    pub(crate) fn frame(&self) -> Vec<u8> {
        prefix(self.first().len())
            .chain(self.first().iter().copied())
            .collect()
    }
}

/// The length that stands before a message on the wire.
fn prefix(len: usize) -> impl Iterator<Item = u8> {
    let groups = iter::successors(Some(len), |rest| (*rest > 0x7f).then_some(rest >> 7));
    groups.map(|rest| {
        let group = u8::try_from(rest & 0x7f).unwrap_or(0);
        if rest > 0x7f { group | 0x80 } else { group }
    })
}

fn made_up_lines() -> Vec<Vec<u8>> {
    let line = |at: usize| {
        let (hour, minute, second) = (at / 3600 % 24, at / 60 % 60, at % 60);
        let address = format!("10.{}.{}.{}", at % 7, at % 251, at % 199);
        let id = at.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        match at % 8 {
            0..3 => format!("[Sun Dec 04 {hour:02}:{minute:02}:{second:02} 2005] [error] child {at} in error state 6"),
            3..5 => format!(
                "Dec 10 {hour:02}:{minute:02}:{second:02} host sshd[{at}]: Failed password for invalid user admin from {address} port {} ssh2",
                at % 65_536
            ),
            5..7 => format!(
                "081109 {hour:02}{minute:02}{second:02} {at} INFO dfs.FSNamesystem: BLOCK* addStoredBlock: blockMap updated: {address}:50010 is added to blk_{id} size 67108864"
            ),
            _ => format!(
                "api.log.1 2017-05-16 {hour:02}:{minute:02}:{second:02}.008 {at} INFO compute.server [req-{id:032x} {id:032x} {id:032x} - - -] {address} \
                 \"GET /v2/{id:032x}/servers/detail HTTP/1.1\" status: 200 len: {} time: 0.2477829",
                at % 4096
            ),
        }
        .into_bytes()
    };
    (0..8192).map(line).collect()
}

pub(crate) fn to_u64(len: usize) -> u64 {
    u64::try_from(len).expect("a size")
}
