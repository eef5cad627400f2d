//! inotify: tells when something has happened to a file. One instance serves all watches of a
//! process, since a user has 128: whoever wakes first reads what has happened, and wakes those whom
//! it concerns.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use parking_lot::Mutex;

use super::waker::Waker;
use crate::sys::file_change::FileChange;
use crate::sys::fork::HomeProcess;
use crate::sys::standard_streams::above_standard;

static OF_THIS_PROCESS: Home = Home(Mutex::new(None));

/// The instance, and the process that it was made in: a child made by `fork` shares it with its
/// parent, and would take away what the parent is to be told.
#[derive(Debug)]
struct Home(Mutex<Option<(HomeProcess, Weak<Instance>)>>);

/// In a child that was made by `fork` while another thread held the lock of [`Home`], it is held
/// for ever. (That of an instance no child ever takes: it has its own.)
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

impl Home {
    /// The instance that this process has already, or a new one. `None` where the user has none
    /// left.
    fn instance(&self) -> Option<Arc<Instance>> {
        let Some(mut known) = self.0.try_lock_for(LOCK_PATIENCE) else {
            return Instance::new();
        };
        let here = known
            .as_ref()
            .filter(|(home, _)| !home.is_elsewhere_for_certain())
            .and_then(|(_, instance)| instance.upgrade());
        if here.is_some() {
            return here;
        }
        let new = Instance::new()?;
        *known = Some((HomeProcess::this(), Arc::downgrade(&new)));
        Some(new)
    }
}

#[derive(Debug)]
struct Instance {
    inotify: Inotify,
    watchers: Mutex<Vec<Arc<Watcher>>>,
    /// Held while descriptors come: none goes meanwhile, since two that watch the same file have
    /// the same. Not the other lock, since a file system may take its time.
    adding: Mutex<()>,
}

#[derive(Debug)]
struct Watcher {
    descriptors: Vec<WatchDescriptor>,
    /// What it is to be told at its next look: a [`FileChange`] as a number, or 0.
    told: AtomicU8,
    waker: Arc<Waker>,
}

const CHANGED: u8 = 1;
const OVER: u8 = 2;

impl Watcher {
    /// What an event means to it.
    fn meaning(&self, event: &InotifyEvent) -> u8 {
        let over =
            AddWatchFlags::IN_IGNORED | AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_MOVE_SELF;
        if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
            CHANGED
        } else if !self.descriptors.contains(&event.wd) {
            0
        } else if event.mask.intersects(over) {
            OVER
        } else {
            CHANGED
        }
    }
}

impl Instance {
    fn new() -> Option<Arc<Self>> {
        let flags = InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK;
        let inotify = above_standard(|| Ok(Inotify::init(flags)?)).ok()?;
        Some(Arc::new(Self {
            inotify,
            watchers: Mutex::default(),
            adding: Mutex::default(),
        }))
    }

    /// Reads once what has happened, and tells everybody; wakes those who did not know, but for
    /// `reading`. What is left keeps the instance readable.
    fn tell(&self, reading: &Arc<Watcher>) {
        let watchers = self.watchers.lock();
        let Ok(events) = self.inotify.read_events() else {
            return;
        };
        for watcher in &*watchers {
            let meanings = events.iter().map(|event| watcher.meaning(event));
            let new = meanings.fold(0, |all, meaning| all | meaning);
            let known = watcher.told.fetch_or(new, Ordering::Relaxed);
            if known | new != known && !Arc::ptr_eq(watcher, reading) {
                watcher.waker.wake();
            }
        }
    }
}

/// A watch of a file. Readable when something has happened, to this file or another one, that
/// nobody has read yet.
#[derive(Debug)]
pub(crate) struct FileWatch {
    instance: Arc<Instance>,
    watcher: Arc<Watcher>,
}

impl FileWatch {
    /// Tells when the file at `path` is removed, replaced or moved: it is readable then, or `waker`
    /// is used. `None` where no watch is to be had.
    pub(crate) fn new(path: &Path, waker: &Arc<Waker>) -> Option<Self> {
        Self::in_home(&OF_THIS_PROCESS, path, waker)
    }

    fn in_home(home: &Home, path: &Path, waker: &Arc<Waker>) -> Option<Self> {
        let instance = home.instance()?;
        // Unlinking a file that is open changes its link count, which is an attribute.
        let of_file =
            AddWatchFlags::IN_ATTRIB | AddWatchFlags::IN_MOVE_SELF | AddWatchFlags::IN_DELETE_SELF;
        let of_directory = AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_DONT_FOLLOW;
        let adding = instance.adding.lock();
        let mut descriptors = vec![instance.inotify.add_watch(path, of_file).ok()?];
        // A directory that is renamed takes the file along, and so does a link on the way that
        // leads elsewhere. What may not be watched is left out.
        let real = path
            .parent()
            .and_then(|directory| directory.canonicalize().ok());
        let directories = path
            .ancestors()
            .skip(1)
            .chain(real.iter().flat_map(|real| real.ancestors()));
        let add = |path| instance.inotify.add_watch(path, of_directory).ok();
        descriptors.extend(directories.filter_map(add));
        let watcher = Arc::new(Watcher {
            descriptors,
            // Something may have happened before anybody could tell.
            told: AtomicU8::new(CHANGED),
            waker: Arc::clone(waker),
        });
        instance.watchers.lock().push(Arc::clone(&watcher));
        drop(adding);
        Some(Self { instance, watcher })
    }

    /// What has happened since the last look. The first look finds a change.
    pub(crate) fn look(&self) -> Option<FileChange> {
        self.instance.tell(&self.watcher);
        match self.watcher.told.swap(0, Ordering::Relaxed) {
            0 => None,
            CHANGED => Some(FileChange::Changed),
            _ => Some(FileChange::WatchOver),
        }
    }
}

impl Drop for FileWatch {
    fn drop(&mut self) {
        let mut watchers = self.instance.watchers.lock();
        watchers.retain(|other| !Arc::ptr_eq(other, &self.watcher));
        // Where others come just now, theirs may be the same: then they stay until the instance
        // goes.
        let Some(_nobody_adds) = self.instance.adding.try_lock() else {
            return;
        };
        for descriptor in &self.watcher.descriptors {
            let is_used = |watcher: &Arc<Watcher>| watcher.descriptors.contains(descriptor);
            if !watchers.iter().any(is_used) {
                // It fails where the file is gone.
                let _ = self.instance.inotify.rm_watch(*descriptor);
            }
        }
    }
}

impl AsFd for FileWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.instance.inotify.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::AsRawFd;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use tempfile::tempdir;

    use super::*;

    fn is_used(waker: &Waker) -> bool {
        let mut fds = [PollFd::new(waker.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).unwrap() > 0
    }

    /// How many files the kernel watches for this one.
    fn kernel_watches(watch: &FileWatch) -> usize {
        let number = watch.as_fd().as_raw_fd();
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap();
        info.matches("inotify wd:").count()
    }

    struct Two {
        home: Home,
        wakers: [Arc<Waker>; 2],
    }

    impl Two {
        fn new() -> Self {
            Self {
                home: Home(Mutex::new(None)),
                wakers: [(); 2].map(|()| Arc::new(Waker::new().unwrap())),
            }
        }

        fn watch(&self, number: usize, path: &Path) -> FileWatch {
            let watch = FileWatch::in_home(&self.home, path, &self.wakers[number]).unwrap();
            assert_eq!(watch.look(), Some(FileChange::Changed), "the first look");
            watch
        }
    }

    #[test]
    fn whoever_looks_first_wakes_whom_it_concerns_and_once() {
        let (place, two) = (tempdir().unwrap(), Two::new());
        let paths = ["a", "b"].map(|name| place.path().join(name));
        for path in &paths {
            fs::write(path, "").unwrap();
        }
        let [first, second] = [0, 1].map(|number| two.watch(number, &paths[number]));
        let both = PollFd::new(first.as_fd(), PollFlags::POLLIN);
        assert_eq!(
            poll(&mut [both], PollTimeout::ZERO).unwrap(),
            0,
            "nothing yet"
        );
        fs::remove_file(&paths[1]).unwrap();
        assert_eq!(first.look(), None, "it is the other's");
        assert!(!is_used(&two.wakers[0]) && is_used(&two.wakers[1]));
        two.wakers[1].reset();
        fs::set_permissions(&paths[0], fs::metadata(&paths[0]).unwrap().permissions()).unwrap();
        assert_eq!(first.look(), Some(FileChange::Changed));
        assert!(!is_used(&two.wakers[1]), "it has been told already");
        assert_eq!(second.look(), Some(FileChange::WatchOver));
        assert_eq!((first.look(), second.look()), (None, None));
        // What both watch.
        fs::remove_file(&paths[0]).unwrap();
        let moved = place.path().with_extension("moved");
        fs::rename(place.path(), &moved).unwrap();
        assert_eq!(second.look(), Some(FileChange::WatchOver));
        assert!(is_used(&two.wakers[0]));
        assert_eq!(first.look(), Some(FileChange::WatchOver));
        fs::rename(moved, place.path()).unwrap();
    }

    #[test]
    fn what_two_watch_is_watched_until_both_have_gone() {
        let (place, two) = (tempdir().unwrap(), Two::new());
        let path = place.path().join("a");
        fs::write(&path, "").unwrap();
        let [first, second] = [0, 1].map(|number| two.watch(number, &path));
        let watches = kernel_watches(&first);
        assert!(watches > 2);
        drop(first);
        assert_eq!(kernel_watches(&second), watches);
        fs::remove_file(&path).unwrap();
        assert_eq!(second.look(), Some(FileChange::WatchOver));
        let other = place.path().join("b");
        fs::write(&other, "").unwrap();
        let first = two.watch(0, &other);
        drop(second);
        assert_eq!(
            kernel_watches(&first),
            watches,
            "and not those of the other"
        );
        let instance = Arc::clone(&first.instance);
        drop(first);
        let number = instance.inotify.as_fd().as_raw_fd();
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap();
        assert!(!info.contains("inotify wd:"), "{info}");
    }

    #[test]
    fn an_event_that_the_kernel_could_not_keep_concerns_everybody() {
        let (place, two) = (tempdir().unwrap(), Two::new());
        let path = place.path().join("a");
        fs::write(&path, "").unwrap();
        let watch = two.watch(0, &path);
        let own = watch.watcher.descriptors[0];
        let other = watch
            .instance
            .inotify
            .add_watch("/proc", AddWatchFlags::IN_ATTRIB);
        for (wd, mask, meaning) in [
            (other.unwrap(), AddWatchFlags::IN_Q_OVERFLOW, CHANGED),
            (other.unwrap(), AddWatchFlags::IN_ATTRIB, 0),
            (own, AddWatchFlags::IN_ATTRIB, CHANGED),
            (own, AddWatchFlags::IN_IGNORED, OVER),
        ] {
            let (cookie, name) = (0, None);
            let event = InotifyEvent {
                wd,
                mask,
                cookie,
                name,
            };
            assert_eq!(watch.watcher.meaning(&event), meaning, "{event:?}");
        }
    }
}
