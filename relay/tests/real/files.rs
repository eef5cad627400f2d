//! Files: each message once and in order, also when the relay is killed and the last file is torn.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::read::MultiGzDecoder;

use crate::support::producer::{Found, Producer, writer};
use crate::support::relay::Relay;
use crate::support::{PATIENCE, pause};

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries
        .filter(|path| path.to_str().unwrap().contains(".log"))
        .collect();
    files.sort();
    files
}

fn compare(folder: &Path, sent: &[(String, u64)]) -> Result<u64, String> {
    let mut found = Found::default();
    for path in files(folder) {
        let mut text = String::new();
        let mut file = File::open(&path).unwrap();
        if path.extension().unwrap() == "gz" {
            MultiGzDecoder::new(file).read_to_string(&mut text).unwrap();
        } else {
            file.read_to_string(&mut text).unwrap();
        }
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let mut words = line.splitn(3, ' ');
            let (name, number) = (
                words.next().unwrap(),
                words.next().unwrap().parse().unwrap(),
            );
            let body = unescaped(words.next().unwrap());
            found.look(name, number, body.as_bytes());
        }
    }
    found.compare(sent)
}

#[test]
fn a_relay_that_is_killed_goes_on_behind_what_is_whole() {
    for form in [&["--files-plain"][..], &[]] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        let arguments = [
            "--to",
            "files",
            "--files-folder",
            path,
            "--files-max-bytes",
            "100KiB",
        ];
        let mut relay = Relay::start(&[&arguments, form].concat());
        let names: [&[&str]; 2] = [&["web"], &["mail", "mail-log"]];
        let start = |names: &&[&str]| Producer::start(&relay.socket(), names, 10_000);
        let producers: Vec<_> = names.iter().map(start).collect();
        for _ in 0..8 {
            pause(Duration::from_millis(150));
            relay.kill();
            let last = files(folder.path()).pop().unwrap();
            let mut last = File::options().append(true).open(last).unwrap();
            // The beginning of a member, or of a line.
            last.write_all(if form.is_empty() {
                &[0x1f, 0x8b, 8, 0, 0]
            } else {
                b"web 17 torn"
            })
            .unwrap();
            relay.restart();
        }
        let sent: Vec<_> = producers.into_iter().flat_map(Producer::end).collect();
        compare(folder.path(), &sent).unwrap();
        assert!(files(folder.path()).len() > 2);
        // From one form to the other, with few files kept: it knows where all stand.
        assert!(relay.stop().success());
        let other = if form.is_empty() {
            &["--files-plain"][..]
        } else {
            &[]
        };
        let relay = Relay::start(&[&arguments, other, &["--files-keep", "1"]].concat());
        let again = Producer::start(&relay.socket(), &["web"], sent[0].1);
        assert_eq!(again.end()[0].1, relay.figure("repeated_total"));
    }
}

/// The message of a line, as it was.
fn unescaped(text: &str) -> String {
    let mut letters = text.chars();
    let mut next = || match letters.next()? {
        '\\' => match letters.next().unwrap() {
            'n' => Some('\n'),
            '0' => Some('\0'),
            other => Some(other),
        },
        other => Some(other),
    };
    std::iter::from_fn(&mut next).collect()
}

#[test]
fn what_would_break_a_line_comes_back_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let form = ["--to", "files", "--files-plain", "--files-folder", path];
    let relay = Relay::start(&form);
    let writer = writer(&relay.socket());
    let body = "two\nlines, \\n is none, \0 and \\";
    writer
        .send_timeout(format!("web 1 {body}"), PATIENCE)
        .unwrap();
    assert_eq!(writer.shutdown(PATIENCE).unwrap().left.messages, 0);
    let text = fs::read_to_string(&files(folder.path())[0]).unwrap();
    let lines: Vec<_> = text.lines().map(unescaped).collect();
    assert_eq!(lines, [format!("web 1 {body}")]);
}

#[test]
fn two_relays_do_not_write_into_one_folder() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = [
        "--to",
        "files",
        "--files-folder",
        folder.path().to_str().unwrap(),
    ];
    let _first = Relay::start(&arguments);
    let mut second = Relay::unstarted(&arguments, &[]);
    second.begin();
    assert!(!second.process.take().unwrap().wait().success());
    assert!(
        second.log().contains("another relay writes into"),
        "{}",
        second.log()
    );
}
