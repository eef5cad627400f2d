//! What a process watches in the file system: one instance of inotify for all its readers, and one
//! for all its writers that wait.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crossbeam_channel::{Receiver, unbounded};
use uds_ipc::event::ReaderEvent;
use uds_ipc::{FlushLevel, Reader, Writer};

use crate::stage::{PATIENCE, Role, in_forked_child, stage, wait_until};

/// So many instances of inotify has this process.
fn instances() -> usize {
    let links = fs::read_dir("/proc/self/fd").unwrap().flatten();
    links
        .filter(|link| {
            fs::read_link(link.path()).is_ok_and(|file| file == Path::new("anon_inode:inotify"))
        })
        .count()
}

/// A reader at `path`, and where it tells that its file is gone.
fn watching_reader(path: &Path) -> (Reader, Receiver<()>) {
    let (tell, told) = unbounded();
    let builder = Reader::builder(path).on_event(move |event| {
        if matches!(event, ReaderEvent::Displaced { .. }) {
            tell.send(()).unwrap();
        }
    });
    (builder.bind().unwrap().start(|_| ()).unwrap(), told)
}

/// A writer at `path` that connects again only when it is told that a socket has come.
fn waiting_writer(path: &Path) -> Writer {
    const HOUR: Duration = Duration::from_secs(3600);
    let builder = Writer::builder(path).backoff_min(HOUR).backoff_max(HOUR);
    let writer = builder.start().unwrap();
    writer.try_send("a").unwrap();
    writer
}

#[test]
fn one_instance_of_inotify_serves_all_readers_of_a_process_and_one_all_writers() {
    let Some(place) = stage() else {
        let place = tempfile::tempdir().unwrap();
        let name =
            "watches::one_instance_of_inotify_serves_all_readers_of_a_process_and_one_all_writers";
        assert!(Role::start(name, place.path()).end().success());
        return;
    };
    let at = |name: &str| place.join(name).join("s");
    for name in ["a", "b", "c", "c/d", "writers", "writers/e"] {
        fs::create_dir(place.join(name)).unwrap();
    }

    // The readers: each is told of what concerns it, also when the one that came first has gone.
    let (first, told_first) = watching_reader(&at("a"));
    let (_second, told_second) = watching_reader(&at("b"));
    let (_third, told_third) = watching_reader(&at("c"));
    let (_fourth, told_fourth) = watching_reader(&at("c/d"));
    assert_eq!(instances(), 1);
    assert!(first.shutdown(PATIENCE).is_ok());
    fs::remove_file(at("b")).unwrap();
    told_second.recv_timeout(PATIENCE).unwrap();
    fs::remove_file(at("c/d")).unwrap();
    told_fourth.recv_timeout(PATIENCE).unwrap();
    // A folder that the others had watched too.
    assert!(told_first.is_empty() && told_third.is_empty());
    fs::rename(place.join("c"), place.join("elsewhere")).unwrap();
    told_third.recv_timeout(PATIENCE).unwrap();

    // A child has its own, beside the one that it inherits, and takes nothing away from its parent.
    let (parents, told_parents) = watching_reader(&at("a"));
    assert!(in_forked_child(|| {
        let (_reader, told) = watching_reader(&at("b"));
        let has_its_own = instances() == 2;
        fs::remove_file(at("b")).unwrap();
        fs::remove_file(at("a")).unwrap();
        has_its_own && told.recv_timeout(PATIENCE).is_ok()
    }));
    told_parents.recv_timeout(PATIENCE).unwrap();
    drop(parents);
    wait_until("the readers' instance is gone", || instances() == 0);

    // The writers: two at one socket, and one at another.
    let writers = ["writers", "writers", "writers/e"].map(|name| waiting_writer(&at(name)));
    wait_until("they watch", || instances() == 1);
    for (name, writers) in [("writers/e", &writers[2..]), ("writers", &writers[..2])] {
        let reader = Reader::builder(at(name))
            .bind()
            .unwrap()
            .start(|_| ())
            .unwrap();
        for writer in writers {
            writer.flush(FlushLevel::Handled, PATIENCE).unwrap();
        }
        drop(reader);
    }
}
