//! What the variables of socket activation say, and which of the sockets somebody gets.
//! Pure but for reading the environment. See
//! [sd_listen_fds(3)](https://www.freedesktop.org/software/systemd/man/latest/sd_listen_fds.html).

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use thiserror::Error;

/// Which of the sockets that systemd passed to this process a reader takes.
///
/// ```
/// use uds_ipc::Reader;
/// use uds_ipc::systemd::Activation;
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("metrics.sock");
/// // The socket unit says `FileDescriptorName=metrics`. Without systemd the path is bound.
/// let bound = Reader::builder(&path).activation(Activation::Named("metrics".into())).bind()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Activation {
    /// The first that fits and is still there.
    #[default]
    First,
    /// The one that `FileDescriptorName=` of its socket unit gives this name; without it that is the socket unit's full name. Of
    /// several with the same name the first that is still there.
    Named(String),
    /// None: the path is bound in any case, and the environment is not looked at.
    Never,
}

/// A descriptor that was passed to this process.
#[derive(Debug)]
pub(crate) struct Passed {
    pub(crate) number: i32,
    pub(crate) name: String,
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    /// A Unix stream socket that listens.
    Listener(OwnedFd),
    /// Something else; where it is a socket it can still be wanted by somebody.
    Else(Option<OwnedFd>, PassedKind),
    Taken,
}

impl Passed {
    /// Takes the socket, if it is one and still there.
    pub(crate) fn take(&mut self) -> Option<OwnedFd> {
        match std::mem::replace(&mut self.what, What::Taken) {
            What::Listener(socket) | What::Else(Some(socket), _) => Some(socket),
            kept @ (What::Else(None, _) | What::Taken) => {
                self.what = kept;
                None
            }
        }
    }
}

/// The variables, as they are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Variables {
    pid: Option<OsString>,
    pidfd_id: Option<OsString>,
    count: Option<OsString>,
    names: Option<OsString>,
}

impl Variables {
    pub(crate) const NAMES: [&'static str; 4] =
        ["LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES"];

    pub(crate) fn read() -> Self {
        let [pid, pidfd_id, count, names] = Self::NAMES.map(env::var_os);
        Self { pid, pidfd_id, count, names }
    }

    pub(crate) fn are_absent(&self) -> bool {
        [&self.pid, &self.pidfd_id, &self.count, &self.names].into_iter().all(Option::is_none)
    }

    /// The names of the descriptors that are for the process `this`: none when they are for another, or there are none.
    pub(crate) fn names(
        &self,
        this: u32,
        pidfd_id: impl FnOnce() -> Option<u64>,
    ) -> Result<Vec<String>, ActivationError> {
        let (Some(pid), Some(count)) = (&self.pid, &self.count) else { return Ok(Vec::new()) };
        if number::<u32>("LISTEN_PID", pid)? != this {
            return Ok(Vec::new());
        }
        if let Some(meant) = &self.pidfd_id {
            let meant = number::<u64>("LISTEN_PIDFDID", meant)?;
            if pidfd_id().is_some_and(|ours| ours != meant) {
                return Ok(Vec::new());
            }
        }
        let count: i32 = number("LISTEN_FDS", count)?;
        // More than a process can have: nothing is to be made or looked at in their number.
        let is_possible = (0..=MOST_DESCRIPTORS).contains(&count);
        let (true, Ok(count)) = (is_possible, usize::try_from(count)) else {
            return Err(bad("LISTEN_FDS", self.count.as_deref().unwrap_or_default()));
        };
        let Some(names) = &self.names else { return Ok(vec!["unknown".into(); count]) };
        let names: Vec<_> = match names.as_bytes() {
            [] if count == 0 => Vec::new(),
            names => {
                names.split(|byte| *byte == b':').map(|name| String::from_utf8_lossy(name).into()).collect()
            }
        };
        if names.len() == count {
            Ok(names)
        } else {
            Err(ActivationError::Names { names: names.len(), descriptors: count })
        }
    }
}

/// The most that Linux lets a process have, unless an administrator has raised that (`fs.nr_open`).
const MOST_DESCRIPTORS: i32 = 1024 * 1024;

fn number<N: std::str::FromStr>(variable: &'static str, value: &OsStr) -> Result<N, ActivationError> {
    value.to_str().and_then(|value| value.parse().ok()).ok_or_else(|| bad(variable, value))
}

fn bad(variable: &'static str, value: &OsStr) -> ActivationError {
    ActivationError::Variable { variable, value: value.into() }
}

/// Takes the socket that is wanted. `None` where none was passed, or (without a name) none is left.
pub(crate) fn choose(passed: &mut [Passed], wanted: &Activation) -> Result<Option<OwnedFd>, ActivationError> {
    let fits = |passed: &&mut Passed| matches!(passed.what, What::Listener(_));
    let reason = |passed: &Passed| match &passed.what {
        What::Else(_, kind) => Some(ActivationError::NotAListener {
            number: passed.number,
            name: passed.name.clone(),
            kind: *kind,
        }),
        What::Listener(_) | What::Taken => None,
    };
    match wanted {
        Activation::Never => Ok(None),
        Activation::First => {
            if let Some(passed) = passed.iter_mut().find(fits) {
                return Ok(passed.take());
            }
            // Where another reader has found its own, what is left can be meant for something else.
            let is_any_taken = passed.iter().any(|passed| matches!(passed.what, What::Taken));
            match passed.iter().find_map(reason) {
                Some(reason) if !is_any_taken => Err(reason),
                Some(_) | None => Ok(None),
            }
        }
        Activation::Named(_) if passed.is_empty() => Ok(None),
        Activation::Named(name) => {
            let is_named = |passed: &Passed| passed.name == *name;
            if let Some(passed) = passed.iter_mut().filter(|passed| is_named(passed)).find(fits) {
                return Ok(passed.take());
            }
            let mut named = passed.iter().filter(|passed| is_named(passed)).peekable();
            if named.peek().is_none() {
                let names = passed.iter().map(|passed| passed.name.clone()).collect();
                return Err(ActivationError::NoSuchName { name: name.clone(), names });
            }
            Err(named.find_map(reason).unwrap_or_else(|| ActivationError::Taken { name: name.clone() }))
        }
    }
}

/// Why no listening socket could be taken over.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ActivationError {
    /// A variable of the protocol has a value that systemd does not set.
    #[error(
        "{variable} is {value:?}, which systemd would not set: unset it, or start the program by a socket unit"
    )]
    #[non_exhaustive]
    Variable {
        /// Its name.
        variable: &'static str,
        /// Its value.
        value: OsString,
    },
    /// `LISTEN_FDNAMES` does not fit `LISTEN_FDS`.
    #[error(
        "LISTEN_FDNAMES has {names} names for the {descriptors} descriptors of LISTEN_FDS: both must come from systemd"
    )]
    #[non_exhaustive]
    Names {
        /// How many names there are.
        names: usize,
        /// How many descriptors there are to be.
        descriptors: usize,
    },
    /// A descriptor that was to be passed is not there.
    #[error(
        "descriptor {number} is one of those that LISTEN_FDS announces, and is not open: it was closed before"
    )]
    #[non_exhaustive]
    NotOpen {
        /// Its number.
        number: i32,
        /// The system's word.
        source: io::Error,
    },
    /// A descriptor is no Unix stream socket that listens.
    #[error("descriptor {number}{} is {kind}", Named(name))]
    #[non_exhaustive]
    NotAListener {
        /// Its number.
        number: i32,
        /// Its name; empty where it has none.
        name: String,
        /// What it is.
        kind: PassedKind,
    },
    /// No descriptor has this name.
    #[error(
        "no socket named {name:?} was passed, only {names:?}: set FileDescriptorName={name} in the socket unit"
    )]
    #[non_exhaustive]
    NoSuchName {
        /// The name that was asked for.
        name: String,
        /// Those that there are.
        names: Vec<String>,
    },
    /// Another reader of this process has it.
    #[error("the socket named {name:?} has been taken already: another reader of this process has it")]
    #[non_exhaustive]
    Taken {
        /// Its name.
        name: String,
    },
}

/// What a descriptor is, where it is no Unix stream socket that listens. As text it says what to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PassedKind {
    /// A datagram socket.
    Datagram,
    /// A socket of sequenced packets.
    SeqPacket,
    /// A socket of the network.
    Internet,
    /// A connection: it has been accepted already.
    Connection,
    /// A stream socket that is bound at most.
    NotListening,
    /// No socket, in words.
    Other(&'static str),
}

impl fmt::Display for PassedKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, advice) = match self {
            Self::Datagram => {
                ("a datagram socket", "the socket unit needs ListenStream= in the place of ListenDatagram=")
            }
            Self::SeqPacket => (
                "a socket of packets",
                "the socket unit needs ListenStream= in the place of ListenSequentialPacket=",
            ),
            Self::Internet => (
                "a network socket",
                "ListenStream= in the socket unit needs a path or @name, not an address or a port",
            ),
            Self::Connection => (
                "a connection, not a socket that listens",
                "the socket unit needs Accept=no in the place of Accept=yes",
            ),
            Self::NotListening => {
                ("a socket that does not listen", "it must come from ListenStream= of a socket unit")
            }
            Self::Other(what) => (*what, "it must come from ListenStream= of a socket unit"),
        };
        write!(f, "{what}: {advice}")
    }
}

/// A name in brackets, or nothing.
struct Named<'a>(&'a str);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " ({})", self.0) }
    }
}
