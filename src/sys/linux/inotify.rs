//! inotify: what happens to files, told to all in this process who wait for it. One instance serves
//! them all, since a user has 128: whoever wakes first reads what has happened, and wakes those
//! whom it concerns.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use parking_lot::Mutex;

use super::waker::Waker;
use crate::sys::fork::HomeProcess;
use crate::sys::standard_streams::above_standard;

/// Something has happened that concerns the watch.
const SOMETHING: u8 = 1;

/// Something has happened to the file that the watch names.
const NAMED: u8 = 2;

/// What is watched is gone, or too much has happened: from here on not all is told.
const OVER: u8 = 4;

/// In a child that was made by `fork` while another thread held the lock, it is held for ever.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// The instance of all watches of one kind: two kinds that watched the same file would each have
/// to know what the other wants of it.
#[derive(Debug)]
pub(super) struct Kind(Mutex<Option<(HomeProcess, Weak<Instance>)>>);

impl Kind {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(None))
    }

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
    watchers: Mutex<Watchers>,
}

#[derive(Debug, Default)]
struct Watchers {
    all: Vec<Arc<Watcher>>,
    /// Two that watch the same file have the same descriptor.
    uses: HashMap<WatchDescriptor, usize>,
}

#[derive(Debug)]
struct Watcher {
    descriptors: Vec<WatchDescriptor>,
    /// What a watched directory tells of others concerns it less.
    name: Option<OsString>,
    /// What has happened since it looked.
    happened: AtomicU8,
    waker: Arc<Waker>,
}

impl Watcher {
    fn concerns(&self, event: &InotifyEvent) -> Option<u8> {
        let over =
            AddWatchFlags::IN_IGNORED | AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_MOVE_SELF;
        if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
            return Some(OVER);
        }
        self.descriptors.contains(&event.wd).then(|| {
            if event.mask.intersects(over) {
                OVER
            } else if self.name.is_some() && event.name == self.name {
                NAMED
            } else {
                SOMETHING
            }
        })
    }
}

impl Instance {
    fn new() -> Option<Arc<Self>> {
        let flags = InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK;
        let inotify = above_standard(|| Ok(Inotify::init(flags)?)).ok()?;
        Some(Arc::new(Self {
            inotify,
            watchers: Mutex::default(),
        }))
    }

    /// Tells everybody what has happened, and wakes all but `reading`.
    fn tell(&self, reading: &Arc<Watcher>) {
        let watchers = self.watchers.lock();
        while let Ok(events) = self.inotify.read_events() {
            for event in &events {
                for watcher in &watchers.all {
                    if let Some(what) = watcher.concerns(event) {
                        watcher.happened.fetch_or(what, Ordering::Relaxed);
                        if !Arc::ptr_eq(watcher, reading) {
                            watcher.waker.wake();
                        }
                    }
                }
            }
        }
    }
}

/// Tells of some files, as long as it lives. Readable when something has happened that nobody has
/// read yet.
#[derive(Debug)]
pub(super) struct Watch {
    instance: Arc<Instance>,
    watcher: Arc<Watcher>,
}

impl Watch {
    /// Watches what `add` adds, which is at least one file; `name` is a file in it. Wakes `waker`
    /// where another one has read what has happened.
    pub(super) fn new(
        kind: &Kind,
        waker: &Arc<Waker>,
        name: Option<OsString>,
        add: impl FnOnce(&Inotify) -> nix::Result<Vec<WatchDescriptor>>,
    ) -> Option<Self> {
        let instance = kind.instance()?;
        // Locked before: what happens at once is told when this watcher is known.
        let mut watchers = instance.watchers.lock();
        let mut descriptors = add(&instance.inotify).ok()?;
        // A file with two paths is the same.
        descriptors.sort_unstable();
        descriptors.dedup();
        for descriptor in &descriptors {
            *watchers.uses.entry(*descriptor).or_default() += 1;
        }
        let watcher = Arc::new(Watcher {
            descriptors,
            name,
            happened: AtomicU8::new(0),
            waker: Arc::clone(waker),
        });
        watchers.all.push(Arc::clone(&watcher));
        drop(watchers);
        Some(Self { instance, watcher })
    }

    /// What has happened since the last look.
    pub(super) fn look(&self) -> Happened {
        self.instance.tell(&self.watcher);
        Happened(self.watcher.happened.swap(0, Ordering::Relaxed))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut watchers = self.instance.watchers.lock();
        watchers
            .all
            .retain(|other| !Arc::ptr_eq(other, &self.watcher));
        for descriptor in &self.watcher.descriptors {
            if let Some(uses) = watchers.uses.get_mut(descriptor) {
                *uses -= 1;
                if *uses == 0 {
                    watchers.uses.remove(descriptor);
                    // It fails where the file is gone.
                    let _ = self.instance.inotify.rm_watch(*descriptor);
                }
            }
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.instance.inotify.as_fd()
    }
}

/// What a look found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Happened(u8);

impl Happened {
    pub(super) fn anything(self) -> bool {
        self.0 != 0
    }

    pub(super) fn to_named(self) -> bool {
        self.0 & NAMED != 0
    }

    pub(super) fn is_over(self) -> bool {
        self.0 & OVER != 0
    }
}
