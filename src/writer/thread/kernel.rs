//! What the thread needs of the system, so that a simulated one can stand in its place.
//! Decides nothing.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::address::Address;
use crate::arena::ticket::Ticket;
use crate::clock;
use crate::descriptor_store::StoreError;
use crate::peer::Identity;
use crate::sys::{
    self, Abilities, Arrival, ArrivalWatch, Readiness, Received, Sent, Stream, Waker, Wanted,
};
use crate::writer::arena::Arena;
use crate::writer::connector::Source;
use crate::writer::thread::attempt::{Attempt, Refusal};
use crate::writer::thread::dial::Dialer;
use crate::writer::thread::memory::Memory;

/// The clock, and the ways to connect and to wait.
pub(crate) trait Kernel {
    type Socket: Socket;

    fn now(&self) -> Instant;

    /// Begins to connect, or goes on with what is under way.
    fn connect(&mut self, address: &Address) -> Result<Attempt<Self::Socket>, Refusal>;

    /// Writes the first bytes of a connection, and passes the arena and the ticket with them. Says
    /// whether they went.
    fn send_first(
        &self,
        socket: &Self::Socket,
        slices: &[IoSlice<'_>],
        ticket: Ticket,
    ) -> io::Result<(Sent, bool)>;

    /// Takes the lock that says that this process lives: what closes a copy of the arena's
    /// descriptor ends it.
    fn hold(&self);

    /// Other memory for the queue. `None` where there is none.
    fn renew_memory(&mut self) -> Option<Arc<Arena>>;

    /// Has the service manager keep it in the place of the memory before. May take some seconds.
    fn keep_memory(&mut self) -> Result<(), StoreError>;

    /// The time to connect is over.
    fn give_up(&mut self);

    /// Waits with a connection.
    fn wait(
        &self,
        waker: &Waker,
        socket: &Self::Socket,
        wanted: Wanted,
        timeout: Option<Duration>,
    ) -> Readiness;

    /// Waits without one: also until there is news of what is under way, which counts as room, or
    /// until a socket comes to `address`, where the system tells.
    fn wait_for_connection(
        &mut self,
        waker: &Waker,
        address: &Address,
        timeout: Option<Duration>,
    ) -> Readiness;
}

/// One connection.
pub(crate) trait Socket {
    /// What it can do: always the same.
    fn abilities(&self) -> Abilities;

    fn peer(&self) -> io::Result<Identity>;

    fn send(&self, slices: &[IoSlice<'_>]) -> io::Result<Sent>;

    fn receive(&self, buffer: &mut [u8]) -> io::Result<Received>;

    /// Sends nothing any more.
    fn end_sending(&self);

    /// How many bytes at most the peer has not read.
    fn unread(&self) -> Option<u64>;

    /// After the connection was lost: whether the peer left bytes unread. Where we have ended our
    /// side too, what is on its way may yet be read.
    fn lost_unread(&self, has_ended: bool) -> bool;
}

/// The real one.
#[derive(Debug)]
pub(crate) struct System {
    dialer: Dialer,
    /// While there is no connection.
    watch: Option<ArrivalWatch>,
    /// How often something else happened in the directory since the last try to connect.
    others: u32,
    /// What the queue stands in, if that outlives the process.
    memory: Option<Memory>,
}

/// How often that may end a wait before only its time does: some directories are busy.
const MOST_OTHERS: u32 = 16;

/// A shorter wait is not worth a watch: of instances of inotify a user has 128.
const WORTH_IT: Duration = Duration::from_millis(100);

impl System {
    /// What of the user's it holds, to be dropped: nothing is connected any more.
    pub(crate) fn take_source(&mut self) -> Source {
        self.dialer.take_source()
    }

    /// Nothing is left that anybody should deliver.
    pub(crate) fn release(&self) {
        if let Some(memory) = &self.memory {
            memory.release();
        }
    }

    pub(crate) fn new(dialer: Dialer, memory: Option<Memory>) -> Self {
        Self {
            memory,
            dialer,
            watch: None,
            others: 0,
        }
    }
}

impl Kernel for System {
    type Socket = Stream;

    fn now(&self) -> Instant {
        clock::now()
    }

    fn connect(&mut self, address: &Address) -> Result<Attempt<Stream>, Refusal> {
        self.others = 0;
        let attempt = self.dialer.connect(address)?;
        self.watch = None;
        Ok(attempt)
    }

    fn send_first(
        &self,
        socket: &Stream,
        slices: &[IoSlice<'_>],
        ticket: Ticket,
    ) -> io::Result<(Sent, bool)> {
        match &self.memory {
            Some(memory) => memory.send(socket, slices, ticket),
            None => Ok((socket.send(slices)?, false)),
        }
    }

    fn hold(&self) {
        if let Some(memory) = &self.memory {
            memory.lock();
        }
    }

    fn renew_memory(&mut self) -> Option<Arc<Arena>> {
        self.memory.as_mut()?.renew()
    }

    fn keep_memory(&mut self) -> Result<(), StoreError> {
        self.memory.as_mut().map_or(Ok(()), Memory::keep)
    }

    fn give_up(&mut self) {
        self.dialer.give_up();
    }

    fn wait(
        &self,
        waker: &Waker,
        socket: &Stream,
        wanted: Wanted,
        timeout: Option<Duration>,
    ) -> Readiness {
        sys::wait(waker, Some(socket), wanted, timeout)
    }

    fn wait_for_connection(
        &mut self,
        waker: &Waker,
        address: &Address,
        timeout: Option<Duration>,
    ) -> Readiness {
        if let Some(ready) = self.dialer.wait(waker, timeout) {
            return ready;
        }
        let may_end = self.others < MOST_OTHERS;
        if may_end && self.watch.is_none() && timeout.is_none_or(|timeout| timeout >= WORTH_IT) {
            self.watch = address.path().and_then(ArrivalWatch::new);
            if self.watch.is_some() && address.path().is_some_and(Path::exists) {
                // It may have come since the last try, before the watch.
                self.others += 1;
                return Readiness {
                    arrival: true,
                    ..Readiness::default()
                };
            }
        }
        let Some(watch) = self.watch.as_ref().filter(|_| may_end) else {
            return sys::wait(waker, None, Wanted::default(), timeout);
        };
        let (woken, arrival) = sys::wait_for_arrival(waker, watch, timeout);
        match arrival {
            Some(Arrival::Come) | None => {}
            Some(Arrival::Other) => self.others += 1,
            Some(Arrival::WatchOver) => {
                self.others += 1;
                self.watch = None;
            }
        }
        Readiness {
            woken,
            arrival: arrival == Some(Arrival::Come),
            ..Readiness::default()
        }
    }
}

impl Socket for Stream {
    fn abilities(&self) -> Abilities {
        self.abilities()
    }

    fn peer(&self) -> io::Result<Identity> {
        self.peer()
    }

    fn send(&self, slices: &[IoSlice<'_>]) -> io::Result<Sent> {
        self.send(slices)
    }

    fn receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        self.receive(buffer)
    }

    fn end_sending(&self) {
        self.end_sending();
    }

    fn unread(&self) -> Option<u64> {
        self.unread()
    }

    fn lost_unread(&self, has_ended: bool) -> bool {
        self.lost_unread(has_ended)
    }
}

#[cfg(test)]
#[cfg(any(target_os = "linux", target_os = "android"))]
mod tests {
    use std::fs;

    use super::*;
    use crate::buffer_size::BufferSize;
    use crate::writer::thread::dial::DialSettings;

    fn system() -> System {
        let settings = DialSettings {
            connect_timeout: Duration::from_secs(1),
            send_buffer_size: BufferSize::Best,
            tcp_keepalive: None,
            tcp_user_timeout: None,
            allow_remote: false,
        };
        System::new(Dialer::new(Source::Address, settings), None)
    }

    #[test]
    fn a_busy_directory_ends_a_wait_a_few_times_only() {
        let directory = tempfile::tempdir().unwrap();
        let address = Address::new(directory.path().join("s")).unwrap();
        let (mut system, waker) = (system(), Waker::new().unwrap());
        let wait = |system: &mut System| {
            let ready = system.wait_for_connection(&waker, &address, Some(WORTH_IT));
            assert!(!ready.woken && !ready.hangup);
            ready.arrival
        };
        assert!(!wait(&mut system));
        for number in 0..2 * MOST_OTHERS {
            fs::write(directory.path().join(number.to_string()), "").unwrap();
            assert!(!wait(&mut system));
        }
        assert_eq!(system.others, MOST_OTHERS);
        fs::write(address.path().unwrap(), "").unwrap();
        assert!(!wait(&mut system), "only time ends it now");
        // The next try begins anew, with all that has happened.
        assert!(system.connect(&address).is_err());
        assert!(wait(&mut system));
        assert!(!wait(&mut system), "it is told once");
    }

    #[test]
    fn a_directory_that_is_made_anew_is_watched_anew() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("run");
        fs::create_dir(&directory).unwrap();
        let address = Address::new(directory.join("s")).unwrap();
        let (mut system, waker) = (system(), Waker::new().unwrap());
        let wait = |system: &mut System| {
            let ready = system.wait_for_connection(&waker, &address, Some(WORTH_IT));
            ready.arrival
        };
        assert!(!wait(&mut system));
        fs::remove_dir(&directory).unwrap();
        assert!(!wait(&mut system));
        assert!(system.watch.is_none());
        fs::create_dir(&directory).unwrap();
        assert!(!wait(&mut system));
        fs::write(address.path().unwrap(), "").unwrap();
        assert!(wait(&mut system));
        // And where it came before the watch did.
        let mut late = self::system();
        assert!(wait(&mut late));
        assert!(!wait(&mut late), "once");
    }
}
