//! What a reader of a pipe costs when its process is killed. It has inherited its end, as a tool
//! has its standard input.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::mpsc;
use std::thread;

use nix::libc::O_NONBLOCK;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use rustix::io::ioctl_fionread;
use uds_ipc::Writer;
use uds_ipc::event::WriterEvent;

use crate::collector::{collect_each, kept_by, records_of};
use crate::load::{MESSAGE_LEN, message};
use crate::stage::{PATIENCE, Role, stage, wait_until};

/// What a pipe holds unless set, and what a reader takes at a time.
const ON_ITS_WAY: usize = (64 + 256) * 1024;

/// The end to write to, once the other is open.
fn open(fifo: &Path) -> File {
    let mut options = OpenOptions::new();
    options.write(true).custom_flags(O_NONBLOCK);
    let mut opened = None;
    wait_until("somebody has the other end", || {
        opened = options.open(fifo).ok();
        opened.is_some()
    });
    opened.unwrap()
}

#[test]
fn a_killed_reader_of_a_pipe_costs_what_the_pipe_held_and_the_writer_says_so() {
    const NAME: &str =
        "pipe::a_killed_reader_of_a_pipe_costs_what_the_pipe_held_and_the_writer_says_so";
    if let Some(place) = stage() {
        return collect_each(&place);
    }
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    fs::write(place.join("address"), "fd:3").unwrap();
    let fifo = place.join("fifo");
    mkfifo(&fifo, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    let setup = format!("exec 3<'{}'", fifo.display());
    let reader = Role::spawn(Role::command(NAME, place, "0", &setup), place);
    let end = open(&fifo);
    let pipe = end.try_clone().unwrap();
    let (note, events) = mpsc::channel();
    let writer = Writer::over(end)
        .on_event(move |event| {
            let _ = note.send(event);
        })
        .start()
        .unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            // Until its only stream has ended.
            let mut numbers = 0..;
            while writer
                .send_timeout(&message(numbers.next().unwrap()), PATIENCE)
                .is_ok()
            {}
        });
        wait_until("the reader has kept some", || kept_by(place, 0) > 1_000);
        reader.freeze();
        wait_until("messages lie in the pipe", || {
            ioctl_fionread(&pipe).unwrap() > u64::try_from(2 * MESSAGE_LEN + 2).unwrap()
        });
        reader.kill();
    });

    let next = || events.recv_timeout(PATIENCE).expect("it says so");
    let (unread, retry_in) = loop {
        if let WriterEvent::Lost {
            unread, retry_in, ..
        } = next()
        {
            break (unread, retry_in);
        }
    };
    assert_eq!((unread, retry_in), (true, None));
    assert!(matches!(next(), WriterEvent::Stopped { .. }));
    let metrics = writer.shutdown(PATIENCE).unwrap().metrics;
    assert_eq!((metrics.connects, metrics.lost_with_unread), (1, 1));
    assert_eq!(
        metrics.accepted,
        metrics.sent + metrics.failed.left,
        "{metrics:#?}"
    );
    let kept = records_of(place, 0);
    assert!((0..).zip(&kept).all(|(number, kept)| number == *kept));
    let lost = usize::try_from(metrics.sent.messages).unwrap() - kept.len();
    assert!(
        (1..=ON_ITS_WAY / MESSAGE_LEN).contains(&lost),
        "{lost} were lost, of {metrics:#?}"
    );
}
