//! Makes the writer's connections: to its address, by a connector of the user's, or the one stream
//! that was given. Names are resolved on a thread of their own, anew for each connection.

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;
use std::time::Duration;

use crate::address::{Address, Host, Kind, Tcp};
use crate::buffer_size::BufferSize;
use crate::event::ConnectError;
use crate::panic_guard::guarded;
use crate::sys::{
    self, AdoptError, Readiness, Stream, TcpOptions, Waker, Wanted, with_signals_blocked,
};
use crate::writer::connector::Source;
use crate::writer::thread::attempt::{Attempt, Refusal};

/// What `SO_SNDBUF` is for a Unix socket unless set: the most that no system limits further.
const UNIX_SEND_BUFFER: usize = 212_992;

/// How connections are made.
#[derive(Debug)]
pub(crate) struct Dialer {
    source: Source,
    settings: DialSettings,
    /// What is under way over TCP.
    tcp: TcpAttempt,
    /// How many of the addresses that a name has timed out, the last tries: the next begins behind
    /// them.
    passed_over: usize,
    resolve: fn(&Tcp) -> io::Result<Vec<SocketAddr>>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct DialSettings {
    pub(crate) connect_timeout: Duration,
    pub(crate) send_buffer_size: BufferSize,
    pub(crate) tcp_keepalive: Option<Duration>,
    pub(crate) tcp_user_timeout: Option<Duration>,
    pub(crate) allow_remote: bool,
}

#[derive(Debug)]
enum TcpAttempt {
    None,
    Resolving(Resolving),
    Connecting {
        stream: Stream,
        /// Those to be tried if this one fails, the next last.
        rest: Vec<SocketAddr>,
    },
}

/// A name that is being resolved.
#[derive(Debug)]
struct Resolving {
    answer: Receiver<io::Result<Vec<SocketAddr>>>,
    /// Used when the answer is there.
    waker: Arc<Waker>,
}

impl Dialer {
    pub(crate) fn new(source: Source, settings: DialSettings) -> Self {
        Self {
            source,
            settings,
            tcp: TcpAttempt::None,
            passed_over: 0,
            resolve: sys::resolve,
        }
    }

    /// Begins to connect, or goes on with what is under way.
    pub(crate) fn connect(&mut self, address: &Address) -> Result<Attempt<Stream>, Refusal> {
        match mem::replace(&mut self.source, Source::Used) {
            Source::Address => {
                self.source = Source::Address;
                self.connect_to(address)
            }
            Source::Connector(mut connector) => {
                let timeout = self.settings.connect_timeout;
                let called = guarded(|| connector.get_mut().connect(timeout));
                self.source = Source::Connector(connector);
                let panicked = |message| Err(io::Error::other(format!("it panicked: {message}")));
                let descriptor = called.unwrap_or_else(panicked)?;
                let stream = Stream::adopt_to_write(descriptor).map_err(|error| match error {
                    AdoptError::Io(error) => error,
                    AdoptError::Kind(kind) => {
                        io::Error::other(format!("what the connector gave is {kind}"))
                    }
                })?;
                stream.set_tcp(&self.tcp_options());
                Ok(Attempt::Connected(stream))
            }
            Source::Stream(stream) => {
                stream.set_tcp(&self.tcp_options());
                Ok(Attempt::Connected(stream))
            }
            Source::Used => Err(io::Error::from(io::ErrorKind::NotConnected).into()),
        }
    }

    fn connect_to(&mut self, address: &Address) -> Result<Attempt<Stream>, Refusal> {
        if let Kind::Tcp(tcp) = address.kind() {
            return self.connect_tcp(tcp);
        }
        let size = self
            .settings
            .send_buffer_size
            .or_best(Some(UNIX_SEND_BUFFER));
        match Stream::connect(address, size) {
            Ok(stream) => Ok(Attempt::Connected(stream)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(Refusal::BacklogFull),
            Err(error) => Err(error.into()),
        }
    }

    fn connect_tcp(&mut self, tcp: &Tcp) -> Result<Attempt<Stream>, Refusal> {
        match mem::replace(&mut self.tcp, TcpAttempt::None) {
            TcpAttempt::None => match tcp.host {
                Host::Ip(ip) => self.try_each(vec![SocketAddr::new(ip, tcp.port)]),
                Host::Name(_) => {
                    let resolving = Resolving::begin(tcp.clone(), self.resolve)?;
                    self.tcp = TcpAttempt::Resolving(resolving);
                    Ok(Attempt::UnderWay)
                }
            },
            TcpAttempt::Resolving(resolving) => match resolving.answer.try_recv() {
                Ok(answer) => {
                    let mut found = answer?;
                    let len = found.len().max(1);
                    found.rotate_left(self.passed_over % len);
                    self.try_each(found)
                }
                Err(TryRecvError::Empty) => {
                    self.tcp = TcpAttempt::Resolving(resolving);
                    Ok(Attempt::UnderWay)
                }
                Err(TryRecvError::Disconnected) => {
                    Err(io::Error::other("the name was not resolved").into())
                }
            },
            TcpAttempt::Connecting { stream, rest } => match stream.is_connected() {
                Ok(true) => {
                    self.passed_over = 0;
                    Ok(Attempt::Connected(stream))
                }
                Ok(false) => {
                    self.tcp = TcpAttempt::Connecting { stream, rest };
                    Ok(Attempt::UnderWay)
                }
                Err(error) if rest.is_empty() => Err(error.into()),
                Err(_) => self.try_next(rest),
            },
        }
    }

    /// Tries the addresses that were found, in their order, those that may be tried.
    fn try_each(&mut self, found: Vec<SocketAddr>) -> Result<Attempt<Stream>, Refusal> {
        let first = found.first().map(SocketAddr::ip);
        let allowed = found
            .into_iter()
            .rev()
            .filter(|address| self.settings.allow_remote || address.ip().is_loopback());
        let allowed: Vec<_> = allowed.collect();
        match first {
            Some(found) if allowed.is_empty() => {
                Err(Refusal::Cause(ConnectError::NotLoopback { found }))
            }
            Some(_) => self.try_next(allowed),
            None => Err(io::Error::other("the name has no address").into()),
        }
    }

    fn try_next(&mut self, mut rest: Vec<SocketAddr>) -> Result<Attempt<Stream>, Refusal> {
        let options = self.tcp_options();
        loop {
            let Some(next) = rest.pop() else {
                return Err(io::Error::other("there is no address to try").into());
            };
            match Stream::begin_tcp(next, &options) {
                Ok(stream) => {
                    self.tcp = TcpAttempt::Connecting { stream, rest };
                    return Ok(Attempt::UnderWay);
                }
                Err(error) if rest.is_empty() => return Err(error.into()),
                Err(_) => {}
            }
        }
    }

    fn tcp_options(&self) -> TcpOptions {
        TcpOptions {
            // The system's grows as needed: no other was found to be better.
            send_buffer_size: self.settings.send_buffer_size.or_best(None),
            keepalive: self.settings.tcp_keepalive,
            user_timeout: self.settings.tcp_user_timeout,
        }
    }

    /// What of the user's it holds, to be dropped.
    pub(crate) fn take_source(&mut self) -> Source {
        mem::replace(&mut self.source, Source::Used)
    }

    /// The time to connect is over. The next try begins with another address of the name, if it has
    /// several. A name that is still being resolved goes on to be.
    pub(crate) fn give_up(&mut self) {
        if matches!(self.tcp, TcpAttempt::Connecting { .. }) {
            self.tcp = TcpAttempt::None;
            self.passed_over = self.passed_over.wrapping_add(1);
        }
    }

    /// Waits for what is under way, if something is.
    pub(crate) fn wait(&self, waker: &Waker, timeout: Option<Duration>) -> Option<Readiness> {
        match &self.tcp {
            TcpAttempt::None => None,
            TcpAttempt::Resolving(resolving) => {
                let (woken, room) = sys::wait_for_either(waker, &resolving.waker, timeout);
                Some(Readiness {
                    woken,
                    room,
                    ..Readiness::default()
                })
            }
            TcpAttempt::Connecting { stream, .. } => {
                let wanted = Wanted {
                    room: true,
                    bytes: false,
                };
                let ready = sys::wait(waker, Some(stream), wanted, timeout);
                Some(Readiness {
                    woken: ready.woken,
                    room: ready.room || ready.hangup,
                    ..Readiness::default()
                })
            }
        }
    }
}

impl Resolving {
    fn begin(tcp: Tcp, resolve: fn(&Tcp) -> io::Result<Vec<SocketAddr>>) -> io::Result<Self> {
        let (sender, answer) = mpsc::sync_channel(1);
        let waker = Arc::new(Waker::new()?);
        let used = Arc::clone(&waker);
        let thread = thread::Builder::new().name("uds-ipc-resolve".to_owned());
        // Nobody waits for its end: the system's resolver cannot be interrupted.
        with_signals_blocked(|| {
            thread.spawn(move || {
                let _ = sender.send(resolve(&tcp));
                used.wake();
            })
        })?;
        Ok(Self { answer, waker })
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::atomic::{AtomicU16, Ordering};

    use parking_lot::Mutex;

    use super::*;

    fn dialer(resolve: fn(&Tcp) -> io::Result<Vec<SocketAddr>>) -> Dialer {
        let settings = DialSettings {
            connect_timeout: Duration::from_secs(1),
            send_buffer_size: BufferSize::Best,
            tcp_keepalive: None,
            tcp_user_timeout: None,
            allow_remote: false,
        };
        Dialer {
            resolve,
            ..Dialer::new(Source::Address, settings)
        }
    }

    /// Goes on until it is decided.
    fn connect(dialer: &mut Dialer, address: &Address) -> Result<Stream, Refusal> {
        let waker = Waker::new().unwrap();
        loop {
            match dialer.connect(address)? {
                Attempt::Connected(stream) => return Ok(stream),
                Attempt::UnderWay => drop(dialer.wait(&waker, None).unwrap()),
            }
        }
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_refused() {
        let mut dialer = dialer(|tcp| Ok(vec![SocketAddr::from(([192, 0, 2, 1], tcp.port))]));
        let address = Address::new("tcp:elsewhere.example:9").unwrap();
        let refused = connect(&mut dialer, &address).unwrap_err();
        assert!(
            matches!(&refused, Refusal::Cause(ConnectError::NotLoopback { found, .. }) if found.is_ipv4()),
            "{refused:?}"
        );
    }

    #[test]
    fn all_addresses_of_a_name_are_tried() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        // Nobody listens at the first.
        let mut dialer = dialer(|tcp| {
            let hosts = [[127, 0, 0, 2], [127, 0, 0, 1]];
            Ok(hosts
                .map(|host| SocketAddr::from((host, tcp.port)))
                .to_vec())
        });
        let address = Address::new(format!("tcp:two.example:{port}")).unwrap();
        let stream = connect(&mut dialer, &address).unwrap();
        let to = SocketAddr::from(([127, 0, 0, 1], port));
        assert_eq!(stream.peer().unwrap(), crate::peer::Identity::Remote(to));
    }

    #[test]
    fn a_name_is_looked_up_anew_for_each_connection() {
        static PORT: AtomicU16 = AtomicU16::new(0);
        let mut dialer =
            dialer(|_| Ok(vec![([127, 0, 0, 1], PORT.load(Ordering::Relaxed)).into()]));
        let address = Address::new("tcp:moving.example:9").unwrap();
        for _ in 0..2 {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let to = listener.local_addr().unwrap();
            PORT.store(to.port(), Ordering::Relaxed);
            let stream = connect(&mut dialer, &address).unwrap();
            assert_eq!(stream.peer().unwrap(), crate::peer::Identity::Remote(to));
        }
    }

    #[test]
    fn a_name_that_is_looked_up_for_long_holds_nothing_up() {
        static ANSWER: Mutex<()> = Mutex::new(());
        let held = ANSWER.lock();
        let mut dialer = dialer(|_| {
            drop(ANSWER.lock());
            Err(io::ErrorKind::NotFound.into())
        });
        let address = Address::new("tcp:slow.example:9").unwrap();
        let waker = Waker::new().unwrap();
        for _ in 0..2 {
            let attempt = dialer.connect(&address).unwrap();
            assert!(matches!(attempt, Attempt::UnderWay));
            let ready = dialer.wait(&waker, Some(Duration::ZERO)).unwrap();
            assert!(!ready.room, "there is an answer");
            dialer.give_up();
        }
        drop(held);
        assert!(connect(&mut dialer, &address).is_err());
    }

    #[test]
    fn a_name_that_is_not_known_is_an_error() {
        let mut dialer = dialer(|_| Err(io::ErrorKind::NotFound.into()));
        let address = Address::new("tcp:nowhere.example:9").unwrap();
        let refused = connect(&mut dialer, &address).unwrap_err();
        assert!(matches!(refused, Refusal::Cause(ConnectError::Io(_))));
    }
}
