//! What the readers of a process watch in the file system, all with one instance of inotify.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crossbeam_channel::{Receiver, unbounded};
use uds_ipc::Reader;
use uds_ipc::event::ReaderEvent;

use crate::stage::{PATIENCE, Role, in_forked_child, stage, wait_until, wait_until_others_sleep};

/// So many instances of inotify has this process.
fn instances() -> usize {
    let links = fs::read_dir("/proc/self/fd").unwrap().flatten();
    links
        .filter(|link| {
            fs::read_link(link.path()).is_ok_and(|file| file == Path::new("anon_inode:inotify"))
        })
        .count()
}

/// Whether this process watches the file at `path` itself.
fn is_watched(path: &Path) -> bool {
    let inode = format!(" ino:{:x} ", fs::symlink_metadata(path).unwrap().ino());
    let watches = fs::read_dir("/proc/self/fdinfo").unwrap().flatten();
    watches
        .filter_map(|file| fs::read_to_string(file.path()).ok())
        .any(|info| {
            let mut watches = info.lines().filter(|line| line.starts_with("inotify "));
            watches.any(|watch| watch.contains(&inode))
        })
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

#[test]
fn one_instance_of_inotify_serves_all_readers_of_a_process() {
    let Some(place) = stage() else {
        let place = tempfile::tempdir().unwrap();
        let name = "watches::one_instance_of_inotify_serves_all_readers_of_a_process";
        assert!(Role::start(name, place.path()).end().success());
        return;
    };
    let at = |name: &str| place.join(name).join("s");
    for name in ["a", "b", "c", "c/d"] {
        fs::create_dir(place.join(name)).unwrap();
    }

    // The readers: each is told of what concerns it, also when the one that came first has gone.
    let (first, told_first) = watching_reader(&at("a"));
    let (second, told_second) = watching_reader(&at("b"));
    let (third, told_third) = watching_reader(&at("c"));
    let (fourth, told_fourth) = watching_reader(&at("c/d"));
    assert_eq!(instances(), 1);
    assert!(first.shutdown(PATIENCE).is_ok());
    fs::remove_file(at("b")).unwrap();
    told_second.recv_timeout(PATIENCE).unwrap();
    fs::remove_file(at("c/d")).unwrap();
    told_fourth.recv_timeout(PATIENCE).unwrap();
    // A folder that the others had watched too.
    assert!(told_third.is_empty());
    fs::rename(place.join("c"), place.join("elsewhere")).unwrap();
    told_third.recv_timeout(PATIENCE).unwrap();
    // Each once, and nobody in vain.
    for reader in [second, third, fourth] {
        assert!(reader.shutdown(PATIENCE).is_ok());
    }
    for told in [told_first, told_second, told_third, told_fourth] {
        assert!(told.is_empty());
    }

    // A child has its own, beside the one that it inherits, and takes nothing away from its parent.
    let (parents, told_parents) = watching_reader(&at("a"));
    wait_until_others_sleep();
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
}

/// The watch ends with the link that it watched, and goes on with the next.
#[test]
fn a_link_on_the_way_may_be_replaced_by_one_to_the_same_place() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    let relink = |target: &str| {
        std::os::unix::fs::symlink(target, at("next")).unwrap();
        fs::rename(at("next"), at("link")).unwrap();
    };
    fs::create_dir(at("a")).unwrap();
    fs::create_dir(at("b")).unwrap();
    relink("a");
    let (reader, told) = watching_reader(&at("link").join("s"));
    for _ in 0..3 {
        relink("a");
        wait_until("the new link is watched", || is_watched(&at("link")));
    }
    assert!(told.is_empty());
    relink("b");
    told.recv_timeout(PATIENCE).unwrap();
    assert!(reader.shutdown(PATIENCE).is_ok());
}
