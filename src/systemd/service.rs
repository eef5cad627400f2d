//! A service: its readers, and the thread that notifies systemd of how they are.

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};
use sd_notify::NotifyState;

use super::notify::Notifier;
use super::schedule::{EXTENSION, Schedule};
use crate::clock::now;
use crate::error::ShutdownError;
use crate::event::{NotifyError, ReaderEvent};
use crate::own_thread::OwnThread;
use crate::reader::{Health, Reader, ReaderReport};

/// How long a service that is dropped without a shutdown still reads what was sent.
const DROP_TIMEOUT: Duration = Duration::from_secs(1);

/// The most bytes of a status. systemd takes no notice of a datagram that is longer than 4096
/// bytes, whatever else it says.
const LONGEST_STATUS: usize = 2048;

/// The readers of one process. Systemd is notified that they are ready, how they are, and that they
/// stop.
///
/// | what is sent | when |
/// | --- | --- |
/// | `READY=1` | by [`start`](Self::start): peers are served by now |
/// | `STATUS=` | the readers' figures in one line of at most 2 KiB, at the start, at the end, and every 5 s if they have changed |
/// | `WATCHDOG=1` | at half of `WatchdogSec=`, as long as each reader makes progress: if all threads of one have been in a callback since the last look, and none has returned from one, it is not sent; an eighth later comes the next look |
/// | `RELOADING=1`, then `READY=1` | around [`reload`](Self::reload) |
/// | `STOPPING=1` | by [`shutdown`](Self::shutdown), before anything else |
/// | `EXTEND_TIMEOUT_USEC=` | at first for 6 s, then every 2 s for 6 s more, as long as messages are handled meanwhile |
///
/// See [sd_notify(3)](https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html). Without `NOTIFY_SOCKET`, that is outside of a unit with
/// `Type=notify`, nothing is sent and no thread is started. What cannot be sent is never fatal: it
/// is the event [`NotifyFailed`](ReaderEvent::NotifyFailed) of the first reader, once until
/// something can be sent again. No room in systemd's socket is not waited
/// for.
///
/// ```
/// use std::time::Duration;
/// use uds_ipc::Reader;
/// use uds_ipc::systemd::Service;
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("telemetry.sock");
/// let reader = Reader::builder(&path).bind()?.start(|message| {
///     println!("{}", String::from_utf8_lossy(message));
/// })?;
/// let service = Service::start([reader]);
/// // ... until SIGTERM, then:
/// let reports = service.shutdown(Duration::from_secs(20))?;
/// assert_eq!(reports[0].cut, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropped, it stops its readers"]
pub struct Service {
    readers: Vec<Reader>,
    /// `None` outside of a unit with `Type=notify`.
    shared: Option<Arc<Shared>>,
    thread: OwnThread,
}

/// What the calls and the thread share.
struct Shared {
    readers: Vec<Health>,
    locked: Mutex<Locked>,
    changed: Condvar,
}

/// What the lock guards.
struct Locked {
    notifier: Notifier,
    phase: Phase,
    /// How many reloads are under way.
    reloads: usize,
    /// The last status that was sent.
    status: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    Stopping,
    Over,
}

impl Service {
    /// Notifies systemd that `readers` are ready, and goes on to notify it of how they are, from a
    /// thread of its own.
    ///
    /// Start all readers first: `READY=1` is sent once, for all of them.
    pub fn start(readers: impl IntoIterator<Item = Reader>) -> Self {
        let readers: Vec<_> = readers.into_iter().collect();
        let health: Vec<_> = readers.iter().map(Reader::health).collect();
        let service = |shared, thread| Self {
            readers,
            shared,
            thread,
        };
        let notifier = match Notifier::from_environment() {
            Ok(Some(notifier)) => notifier,
            Ok(None) => return service(None, OwnThread::none()),
            Err(error) => {
                report(&health, error);
                return service(None, OwnThread::none());
            }
        };
        let status = status(&health);
        let locked = Locked {
            notifier,
            phase: Phase::Running,
            reloads: 0,
            status: status.clone(),
        };
        let shared = Arc::new(Shared {
            readers: health,
            locked: Mutex::new(locked),
            changed: Condvar::new(),
        });
        shared.notify(&[NotifyState::Ready, NotifyState::Status(&status)]);
        let run = {
            let shared = Arc::clone(&shared);
            move || shared.run(sd_notify::watchdog_enabled())
        };
        let thread = OwnThread::start("uds-ipc-systemd", run).unwrap_or_else(|source| {
            let source = source.into();
            report(&shared.readers, NotifyError::Thread { source });
            OwnThread::none()
        });
        service(Some(shared), thread)
    }

    /// The readers, in the order in which they were given.
    #[must_use]
    pub fn readers(&self) -> &[Reader] {
        &self.readers
    }

    /// Runs `reload`, and notifies systemd before and after: for a unit with `ExecReload=` or
    /// `Type=notify-reload`. The readers go on meanwhile.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("telemetry.sock");
    /// # let reader = uds_ipc::Reader::builder(&path).bind()?.start(|_| ())?;
    /// let service = uds_ipc::systemd::Service::start([reader]);
    /// // At SIGHUP:
    /// let filters = service.reload(|| vec!["debug", "trace"]);
    /// assert_eq!(filters.len(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reload<T>(&self, reload: impl FnOnce() -> T) -> T {
        /// Ends the reload also when the closure panics.
        struct Ready<'a>(Option<&'a Shared>);
        impl Drop for Ready<'_> {
            fn drop(&mut self) {
                if let Some(shared) = self.0 {
                    shared.end_reload();
                }
            }
        }

        let shared = self
            .shared
            .as_deref()
            .filter(|_| self.thread.is_of_this_process());
        if let (Some(shared), Ok(now)) = (shared, NotifyState::monotonic_usec_now()) {
            shared.begin_reload(now);
        }
        let _ready = Ready(shared);
        reload()
    }

    /// Notifies systemd that the service stops, then [shuts each reader down](Reader::shutdown),
    /// all at once; at the latest when `timeout` is over. Meanwhile, as long as messages are
    /// handled, systemd is asked for more time than `TimeoutStopSec=` gives.
    ///
    /// Further calls, from any thread, wait for the same end. The reports are in the order of the
    /// readers.
    ///
    /// # Errors
    /// Inside a callback of one of the readers, and in a forked child; nothing has begun then.
    pub fn shutdown(&self, timeout: Duration) -> Result<Vec<ReaderReport>, ShutdownError> {
        // Each reader says so too, but there may be none.
        if !self.thread.is_of_this_process() {
            return Err(ShutdownError::InForkedChild);
        }
        for reader in &self.readers {
            reader.may_wait()?;
        }
        if let Some(shared) = &self.shared {
            shared.stop();
        }
        for reader in &self.readers {
            reader.begin_stop(timeout);
        }
        let reports: Result<Vec<_>, _> = self
            .readers
            .iter()
            .map(|reader| reader.shutdown(timeout))
            .collect();
        self.end_thread();
        reports
    }

    fn end_thread(&self) {
        if let Some(shared) = &self.shared {
            shared.locked.lock().phase = Phase::Over;
            shared.changed.notify_all();
        }
        self.thread.join();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if !self.thread.is_of_this_process() {
            return;
        }
        if self.shutdown(DROP_TIMEOUT).is_err() {
            // A callback held the last reference: the readers end by themselves when they are
            // dropped.
            if let Some(shared) = &self.shared {
                shared.stop();
            }
            self.end_thread();
        }
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("readers", &self.readers)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Sends a change of state.
    fn notify(&self, states: &[NotifyState<'_>]) {
        let notified = self.locked.lock().notifier.notify(text(states));
        self.report(notified);
        // The thread sends what found no room.
        self.changed.notify_all();
    }

    fn begin_reload(&self, now: NotifyState<'_>) {
        let mut locked = self.locked.lock();
        locked.reloads += 1;
        self.notify_running(locked, &[NotifyState::Reloading, now]);
    }

    /// Ready with the last of those that are under way.
    fn end_reload(&self) {
        let mut locked = self.locked.lock();
        locked.reloads = locked.reloads.saturating_sub(1);
        if locked.reloads == 0 {
            self.notify_running(locked, &[NotifyState::Ready]);
        }
    }

    /// Sends a change, unless the stop was sent already: after that nothing is ready again.
    fn notify_running(&self, mut locked: MutexGuard<'_, Locked>, states: &[NotifyState<'_>]) {
        let notified = if locked.phase == Phase::Running {
            locked.notifier.notify(text(states))
        } else {
            Ok(())
        };
        drop(locked);
        self.report(notified);
        self.changed.notify_all();
    }

    fn stop(&self) {
        let mut locked = self.locked.lock();
        if locked.phase != Phase::Running {
            return;
        }
        locked.phase = Phase::Stopping;
        let extension = NotifyState::ExtendTimeoutUsec(extension());
        let notified = locked
            .notifier
            .notify(text(&[NotifyState::Stopping, extension]));
        drop(locked);
        self.report(notified);
        self.changed.notify_all();
    }

    fn report(&self, notified: Result<(), NotifyError>) {
        if let Err(error) = notified {
            report(&self.readers, error);
        }
    }

    /// The thread: it sends what is due until the service is over.
    fn run(&self, watchdog: Option<Duration>) {
        let progress = || {
            self.readers
                .iter()
                .map(Health::progress)
                .collect::<Vec<_>>()
        };
        let mut schedule = Schedule::new(now(), watchdog);
        let (mut at_watchdog, mut at_extension) = (progress(), progress());
        let mut locked = self.locked.lock();
        while locked.phase != Phase::Over {
            let now = now();
            if locked.phase == Phase::Stopping {
                schedule.stop(now);
            }
            let due = schedule.due(now);
            let mut states = Vec::new();
            if due.watchdog {
                let before = mem::replace(&mut at_watchdog, progress());
                if at_watchdog
                    .iter()
                    .zip(&before)
                    .all(|(now, before)| now.has_moved_since(before))
                {
                    states.push(NotifyState::Watchdog);
                } else {
                    schedule.look_again(now);
                }
            }
            if due.extension {
                let before = mem::replace(&mut at_extension, progress());
                if at_extension
                    .iter()
                    .zip(&before)
                    .any(|(now, before)| now.has_done_more_than(before))
                {
                    states.push(NotifyState::ExtendTimeoutUsec(extension()));
                }
            }
            let new_status =
                Some(status(&self.readers)).filter(|new| due.status && *new != locked.status);
            if let Some(new) = &new_status {
                states.push(NotifyState::Status(new));
            }
            let notified = if states.is_empty() {
                locked.notifier.send_unsent()
            } else {
                locked
                    .notifier
                    .notify_if_room(&text(&states))
                    .map(|is_sent| {
                        if due.watchdog && !is_sent {
                            schedule.look_again(now);
                        }
                        // Otherwise it is tried again the next time.
                        if let Some(new) = new_status.filter(|_| is_sent) {
                            locked.status = new;
                        }
                    })
            };
            self.report(notified);
            match schedule.next(now, locked.notifier.has_unsent()) {
                Some(next) => drop(self.changed.wait_until(&mut locked, next)),
                None => self.changed.wait(&mut locked),
            }
        }
        let last = status(&self.readers);
        let notified = locked
            .notifier
            .notify_if_room(&text(&[NotifyState::Status(&last)]));
        self.report(notified.map(drop));
    }
}

fn extension() -> u32 {
    u32::try_from(EXTENSION.as_micros()).unwrap_or(u32::MAX)
}

fn text(states: &[NotifyState<'_>]) -> String {
    let lines: Vec<_> = states.iter().map(NotifyState::to_string).collect();
    lines.join("\n")
}

/// The figures of the readers, in one line.
fn status(readers: &[Health]) -> String {
    status_line(&readers.iter().map(Health::to_string).collect::<Vec<_>>())
}

fn status_line(readers: &[String]) -> String {
    // A path can have a line break in it, and what follows would be an assignment of its own.
    let mut line = readers.join("; ").replace(['\n', '\r'], " ");
    let is_end = |end: &usize| line.is_char_boundary(*end);
    line.truncate((0..=LONGEST_STATUS).rev().find(is_end).unwrap_or(0));
    line
}

fn report(readers: &[Health], error: NotifyError) {
    if let Some(reader) = readers.first() {
        reader.emit_later(|address| ReaderEvent::NotifyFailed { address, error });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_line_that_the_manager_has_room_for() {
        let readers = |count| vec!["/run/\u{e9}\n\rREADY=1: 0 messages".to_owned(); count];
        assert_eq!(status_line(&readers(0)), "");
        let one = "/run/\u{e9}  READY=1: 0 messages";
        assert_eq!(status_line(&readers(2)), format!("{one}; {one}"));
        // Wherever it is cut, no letter is.
        for count in 1000..1004 {
            let line = status_line(&[vec!["\u{e9}".repeat(count)], readers(100)].concat());
            assert!(
                (LONGEST_STATUS - 1..=LONGEST_STATUS).contains(&line.len()),
                "{}",
                line.len()
            );
        }
    }
}
