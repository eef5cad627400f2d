//! Log lines: those of a folder's files, or made up.

use std::fs;
use std::sync::LazyLock;

static LINES: LazyLock<Vec<String>> =
    LazyLock::new(|| match std::env::var("UDS_IPC_RELAY_LINES") {
        Ok(folder) => read(&folder),
        Err(_) => (0..2_000).map(made_up).collect(),
    });

/// Line `number` of a producer's log.
pub(crate) fn line(number: u64) -> &'static str {
    let count = u64::try_from(LINES.len()).unwrap();
    &LINES[usize::try_from(number % count).unwrap()]
}

fn read(folder: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "log") {
            let text = fs::read(path).unwrap();
            lines.extend(String::from_utf8_lossy(&text).lines().map(str::to_owned));
        }
    }
    assert!(!lines.is_empty(), "no lines in {folder}");
    lines
}

fn made_up(number: u32) -> String {
    let (host, process) = (number % 9, 1000 + number % 7919);
    let time = format!("Nov 30 01:{:02}:{:02}", number / 60 % 60, number % 60);
    let user =
        ["root", "webmaster", "admin", "oracle", "test"][usize::try_from(number % 5).unwrap()];
    let address = format!("173.234.{}.{}", number % 256, number / 7 % 256);
    match number % 4 {
        0 => format!(
            "{time} host{host} sshd[{process}]: Failed password for invalid user {user} from {address} port {} ssh2",
            30_000 + number
        ),
        1 => format!(
            "{time} host{host} kernel: ACPI: PCI Interrupt Link [LNK{}] enabled at IRQ {}",
            number % 8,
            number % 16
        ),
        2 => format!(
            "{time} host{host} nova-api: {address} \"GET /v2/54fadb412c4e40cdbaed9335e4c35a9e/servers/detail HTTP/1.1\" status: 200 len: {} time: 0.{:07}",
            1_000 + number % 900,
            number * 977 % 10_000_000
        ),
        _ => format!(
            "{time} host{host} su(pam_unix)[{process}]: session opened for user {user} by (uid={})",
            number % 100
        ),
    }
}
