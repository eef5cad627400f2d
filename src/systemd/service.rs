//! A service: its readers, and the thread that tells systemd how they are.

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};
use sd_notify::NotifyState;

use super::notify::Notifier;
use super::pulse::{EXTENSION, Pulse};
use crate::clock::now;
use crate::error::ShutdownError;
use crate::event::{NotifyError, ReaderEvent};
use crate::own_thread::OwnThread;
use crate::reader::{Reader, ReaderReport, Vitals};

/// How long a service that is dropped without a shutdown still reads what was sent.
const DROP_TIMEOUT: Duration = Duration::from_secs(1);

/// The most bytes of a status. systemd takes no notice of a datagram that is longer than 4096
/// bytes, whatever else it says.
const LONGEST_STATUS: usize = 2048;

/// The readers of one process, of which systemd is told: that they are ready, how they are, and
/// that they stop.
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
/// something can be sent again. A full manager is not waited for.
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
///     Ok::<(), std::io::Error>(())
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
    /// `None` where nobody wants to be told.
    manager: Option<Arc<Manager>>,
    thread: OwnThread,
}

/// What the calls and the thread share.
struct Manager {
    readers: Vec<Vitals>,
    inner: Mutex<Inner>,
    changed: Condvar,
}

struct Inner {
    notifier: Notifier,
    phase: Phase,
    /// How many reloads are under way.
    reloads: usize,
    status: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    Stopping,
    Over,
}

impl Service {
    /// Tells systemd that `readers` are ready, and goes on to tell how they are, from a thread of
    /// its own.
    ///
    /// Start all readers first: it is said once, for all of them.
    pub fn start(readers: impl IntoIterator<Item = Reader>) -> Self {
        let readers: Vec<_> = readers.into_iter().collect();
        let vitals: Vec<_> = readers.iter().map(Reader::vitals).collect();
        let service = |manager, thread| Self {
            readers,
            manager,
            thread,
        };
        let notifier = match Notifier::from_environment() {
            Ok(Some(notifier)) => notifier,
            Ok(None) => return service(None, OwnThread::none()),
            Err(error) => {
                report(&vitals, error);
                return service(None, OwnThread::none());
            }
        };
        let status = status(&vitals);
        let inner = Inner {
            notifier,
            phase: Phase::Running,
            reloads: 0,
            status: status.clone(),
        };
        let manager = Arc::new(Manager {
            readers: vitals,
            inner: Mutex::new(inner),
            changed: Condvar::new(),
        });
        manager.tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
        let run = {
            let manager = Arc::clone(&manager);
            move || manager.run(sd_notify::watchdog_enabled())
        };
        let thread = OwnThread::start("uds-ipc-systemd", run).unwrap_or_else(|source| {
            report(&manager.readers, NotifyError::Thread { source });
            OwnThread::none()
        });
        service(Some(manager), thread)
    }

    /// The readers, in the order in which they were given.
    #[must_use]
    pub fn readers(&self) -> &[Reader] {
        &self.readers
    }

    /// Runs `reload`, and tells systemd so before and after: for a unit with `ExecReload=` or
    /// `Type=notify-reload`. The readers go on meanwhile.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("telemetry.sock");
    /// # let reader = uds_ipc::Reader::builder(&path).bind()?;
    /// # let reader = reader.start(|_| Ok::<(), std::io::Error>(()))?;
    /// let service = uds_ipc::systemd::Service::start([reader]);
    /// // At SIGHUP:
    /// let filters = service.reload(|| vec!["debug", "trace"]);
    /// assert_eq!(filters.len(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reload<T>(&self, reload: impl FnOnce() -> T) -> T {
        /// Says so also when the closure panics.
        struct Ready<'a>(Option<&'a Manager>);
        impl Drop for Ready<'_> {
            fn drop(&mut self) {
                if let Some(manager) = self.0 {
                    manager.end_reload();
                }
            }
        }

        let manager = self
            .manager
            .as_deref()
            .filter(|_| self.thread.is_of_this_process());
        if let (Some(manager), Ok(now)) = (manager, NotifyState::monotonic_usec_now()) {
            manager.begin_reload(now);
        }
        let _ready = Ready(manager);
        reload()
    }

    /// Tells systemd that the service stops, then [shuts each reader down](Reader::shutdown), all
    /// at once; at the latest when `timeout` is over. Meanwhile, as long as messages are
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
        if let Some(manager) = &self.manager {
            manager.stop();
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
        if let Some(manager) = &self.manager {
            manager.inner.lock().phase = Phase::Over;
            manager.changed.notify_all();
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
            if let Some(manager) = &self.manager {
                manager.stop();
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

impl Manager {
    /// Tells a change of state.
    fn tell(&self, states: &[NotifyState<'_>]) {
        let told = self.inner.lock().notifier.tell(text(states));
        self.report(told);
        // What found no room is the thread's now.
        self.changed.notify_all();
    }

    fn begin_reload(&self, now: NotifyState<'_>) {
        let mut inner = self.inner.lock();
        inner.reloads += 1;
        self.tell_running(inner, &[NotifyState::Reloading, now]);
    }

    /// Ready with the last of those that are under way.
    fn end_reload(&self) {
        let mut inner = self.inner.lock();
        inner.reloads = inner.reloads.saturating_sub(1);
        if inner.reloads == 0 {
            self.tell_running(inner, &[NotifyState::Ready]);
        }
    }

    /// Tells a change, unless the end was told already: after that nothing is ready again.
    fn tell_running(&self, mut inner: MutexGuard<'_, Inner>, states: &[NotifyState<'_>]) {
        let told = if inner.phase == Phase::Running {
            inner.notifier.tell(text(states))
        } else {
            Ok(())
        };
        drop(inner);
        self.report(told);
        self.changed.notify_all();
    }

    fn stop(&self) {
        let mut inner = self.inner.lock();
        if inner.phase != Phase::Running {
            return;
        }
        inner.phase = Phase::Stopping;
        let extension = NotifyState::ExtendTimeoutUsec(extension());
        let told = inner
            .notifier
            .tell(text(&[NotifyState::Stopping, extension]));
        drop(inner);
        self.report(told);
        self.changed.notify_all();
    }

    fn report(&self, told: Result<(), NotifyError>) {
        if let Err(error) = told {
            report(&self.readers, error);
        }
    }

    /// The thread: it tells what is due until all is over.
    fn run(&self, watchdog: Option<Duration>) {
        let progress = || {
            self.readers
                .iter()
                .map(Vitals::progress)
                .collect::<Vec<_>>()
        };
        let mut pulse = Pulse::new(now(), watchdog);
        let (mut at_watchdog, mut at_extension) = (progress(), progress());
        let mut inner = self.inner.lock();
        while inner.phase != Phase::Over {
            let now = now();
            if inner.phase == Phase::Stopping {
                pulse.stop(now);
            }
            let due = pulse.due(now);
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
                    pulse.look_again(now);
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
                Some(status(&self.readers)).filter(|new| due.status && *new != inner.status);
            if let Some(new) = &new_status {
                states.push(NotifyState::Status(new));
            }
            let told = if states.is_empty() {
                inner.notifier.pay()
            } else {
                inner.notifier.mention(&text(&states)).map(|is_sent| {
                    if due.watchdog && !is_sent {
                        pulse.look_again(now);
                    }
                    // Otherwise it is still news the next time.
                    if let Some(new) = new_status.filter(|_| is_sent) {
                        inner.status = new;
                    }
                })
            };
            self.report(told);
            match pulse.next(now, inner.notifier.owes()) {
                Some(next) => drop(self.changed.wait_until(&mut inner, next)),
                None => self.changed.wait(&mut inner),
            }
        }
        let last = status(&self.readers);
        let told = inner.notifier.mention(&text(&[NotifyState::Status(&last)]));
        self.report(told.map(drop));
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
fn status(readers: &[Vitals]) -> String {
    status_line(&readers.iter().map(Vitals::to_string).collect::<Vec<_>>())
}

fn status_line(readers: &[String]) -> String {
    // A path can have a line break in it, and what follows would be an assignment of its own.
    let mut line = readers.join("; ").replace(['\n', '\r'], " ");
    let is_end = |end: &usize| line.is_char_boundary(*end);
    line.truncate((0..=LONGEST_STATUS).rev().find(is_end).unwrap_or(0));
    line
}

fn report(readers: &[Vitals], error: NotifyError) {
    if let Some(reader) = readers.first() {
        reader.tell_later(|address| ReaderEvent::NotifyFailed { address, error });
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
