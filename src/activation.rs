//! What the variables of socket activation say, and which of the sockets somebody gets.
//! Pure but for reading the environment. See
//! [sd_listen_fds(3)](https://www.freedesktop.org/software/systemd/man/latest/sd_listen_fds.html).

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
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
    /// The one that `FileDescriptorName=` of its socket unit gives this name; without it that is
    /// the socket unit's full name. Of several with the same name the first that is still
    /// there.
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
    pub(crate) const NAMES: [&'static str; 4] = [
        "LISTEN_PID",
        "LISTEN_PIDFDID",
        "LISTEN_FDS",
        "LISTEN_FDNAMES",
    ];

    pub(crate) fn read() -> Self {
        let [pid, pidfd_id, count, names] = Self::NAMES.map(env::var_os);
        Self {
            pid,
            pidfd_id,
            count,
            names,
        }
    }

    /// The names of the descriptors that are for the process `this`: none when they are for
    /// another, or there are none.
    pub(crate) fn names(
        &self,
        this: u32,
        pidfd_id: impl FnOnce() -> Option<u64>,
    ) -> Result<Vec<String>, ActivationError> {
        let (Some(pid), Some(count)) = (&self.pid, &self.count) else {
            return Ok(Vec::new());
        };
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
        let Some(names) = &self.names else {
            return Ok(vec!["unknown".into(); count]);
        };
        let names: Vec<_> = match names.as_bytes() {
            [] if count == 0 => Vec::new(),
            names => names
                .split(|byte| *byte == b':')
                .map(|name| String::from_utf8_lossy(name).into())
                .collect(),
        };
        if names.len() == count {
            Ok(names)
        } else {
            Err(ActivationError::Names {
                names: names.len(),
                descriptors: count,
            })
        }
    }
}

/// The most that Linux lets a process have, unless an administrator has raised that (`fs.nr_open`).
const MOST_DESCRIPTORS: i32 = 1024 * 1024;

fn number<N: std::str::FromStr>(
    variable: &'static str,
    value: &OsStr,
) -> Result<N, ActivationError> {
    value
        .to_str()
        .and_then(|value| value.parse().ok())
        .ok_or_else(|| bad(variable, value))
}

fn bad(variable: &'static str, value: &OsStr) -> ActivationError {
    ActivationError::Variable {
        variable,
        value: value.into(),
    }
}

/// Takes the socket that is wanted. `None` where none was passed, or (without a name) none is left.
pub(crate) fn choose(
    passed: &mut [Passed],
    wanted: &Activation,
) -> Result<Option<OwnedFd>, ActivationError> {
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
            let is_any_taken = passed
                .iter()
                .any(|passed| matches!(passed.what, What::Taken));
            match passed.iter().find_map(reason) {
                Some(reason) if !is_any_taken => Err(reason),
                Some(_) | None => Ok(None),
            }
        }
        Activation::Named(_) if passed.is_empty() => Ok(None),
        Activation::Named(name) => {
            let is_named = |passed: &Passed| passed.name == *name;
            if let Some(passed) = passed
                .iter_mut()
                .filter(|passed| is_named(passed))
                .find(fits)
            {
                return Ok(passed.take());
            }
            let mut named = passed.iter().filter(|passed| is_named(passed)).peekable();
            if named.peek().is_none() {
                let names = passed.iter().map(|passed| passed.name.clone()).collect();
                return Err(ActivationError::NoSuchName {
                    name: name.clone(),
                    names,
                });
            }
            Err(named
                .find_map(reason)
                .unwrap_or_else(|| ActivationError::Taken { name: name.clone() }))
        }
    }
}

/// Why no listening socket could be taken over.
#[derive(Clone, Debug, Error)]
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
    },
    /// A descriptor is no Unix stream socket that listens.
    #[error("descriptor {number}{} is {kind}: {}", Named(name), kind.advice())]
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
    #[error(
        "the socket named {name:?} has been taken already: another reader of this process has it"
    )]
    #[non_exhaustive]
    Taken {
        /// Its name.
        name: String,
    },
}

/// What a descriptor is, where it is no Unix stream socket that listens.
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

impl PassedKind {
    /// What to change, where systemd passed it.
    fn advice(self) -> &'static str {
        match self {
            Self::Datagram => "the socket unit needs ListenStream= in the place of ListenDatagram=",
            Self::SeqPacket => {
                "the socket unit needs ListenStream= in the place of ListenSequentialPacket="
            }
            Self::Internet => {
                "ListenStream= in the socket unit needs a path or @name, not an address or a port"
            }
            Self::Connection => "the socket unit needs Accept=no in the place of Accept=yes",
            Self::NotListening | Self::Other(_) => {
                "it must come from ListenStream= of a socket unit"
            }
        }
    }
}

impl fmt::Display for PassedKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Datagram => "a datagram socket",
            Self::SeqPacket => "a socket of packets",
            Self::Internet => "a network socket",
            Self::Connection => "a connection, not a socket that listens",
            Self::NotListening => "a socket that does not listen",
            Self::Other(what) => what,
        })
    }
}

/// A name in brackets, or nothing.
struct Named<'a>(&'a str);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            Ok(())
        } else {
            write!(f, " ({})", self.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    /// The process that the tests speak of, and its number as a process descriptor.
    const THIS: u32 = 42;
    const PIDFD_ID: u64 = 4711;

    fn variables(pid: &str, count: &str, names: Option<&str>) -> Variables {
        let names = names.map(OsString::from);
        Variables {
            pid: Some(pid.into()),
            pidfd_id: None,
            count: Some(count.into()),
            names,
        }
    }

    fn names_of(variables: &Variables) -> Result<Vec<String>, ActivationError> {
        variables.names(THIS, || panic!("nothing asks for it"))
    }

    /// The variable that is to blame.
    fn blamed(result: &Result<Vec<String>, ActivationError>) -> Option<&'static str> {
        match result {
            Err(ActivationError::Variable { variable, .. }) => Some(variable),
            Ok(_) | Err(_) => None,
        }
    }

    #[test]
    fn what_is_for_another_process_or_nobody_is_not_for_us() {
        let fits = variables("42", "1", Some("a"));
        for variables in [
            Variables::default(),
            Variables {
                pid: None,
                ..fits.clone()
            },
            Variables {
                count: None,
                ..fits.clone()
            },
            variables("41", "1", Some("a")),
            variables("0", "1", None),
            // Where it is not for us, what else it says is not looked at.
            variables("41", "nonsense", None),
            Variables {
                pidfd_id: Some("nonsense".into()),
                ..variables("41", "1", None)
            },
        ] {
            assert_eq!(names_of(&variables).unwrap(), [""; 0], "{variables:?}");
        }
        assert_eq!(names_of(&fits).unwrap(), ["a"]);
    }

    #[test]
    fn a_variable_that_systemd_would_not_set_is_named() {
        for pid in ["", "nonsense", "-1", "42 ", "42x", "4294967296"] {
            assert_eq!(
                blamed(&names_of(&variables(pid, "1", None))),
                Some("LISTEN_PID"),
                "{pid:?}"
            );
        }
        for count in [
            "",
            "nonsense",
            "-1",
            "1.5",
            "1048577",
            "2147483647",
            "2147483648",
            "99999999999999999999",
        ] {
            assert_eq!(
                blamed(&names_of(&variables("42", count, None))),
                Some("LISTEN_FDS"),
                "{count:?}"
            );
        }
        let no_text = OsStr::from_bytes(b"\xff").to_owned();
        let no_text = Variables {
            count: Some(no_text),
            ..variables("42", "1", None)
        };
        assert_eq!(blamed(&names_of(&no_text)), Some("LISTEN_FDS"));
        let error = names_of(&variables("42", "-1", None))
            .unwrap_err()
            .to_string();
        assert!(error.contains("LISTEN_FDS is \"-1\""), "{error}");
    }

    #[test]
    fn names_are_as_many_as_descriptors() {
        for (count, given, names) in [
            ("0", None, &[][..]),
            ("0", Some(""), &[]),
            ("1", None, &["unknown"]),
            ("3", None, &["unknown", "unknown", "unknown"]),
            ("1", Some(""), &[""]),
            ("1", Some("a.socket"), &["a.socket"]),
            ("3", Some("a::a"), &["a", "", "a"]),
            ("3", Some("::"), &["", "", ""]),
        ] {
            assert_eq!(
                names_of(&variables("42", count, given)).unwrap(),
                names,
                "{count} {given:?}"
            );
        }
        for (count, given, how_many) in [
            (0, "a", 1),
            (1, "a:b", 2),
            (2, "a", 1),
            (2, "", 1),
            (1, ":", 2),
        ] {
            let error = names_of(&variables("42", &count.to_string(), Some(given))).unwrap_err();
            assert!(
                matches!(error, ActivationError::Names { names, descriptors } if (names, descriptors) == (how_many, count)),
                "{count} {given:?}: {error}"
            );
        }
    }

    #[test]
    fn a_process_that_had_the_same_id_before_is_another() {
        let meant_for = |id: &str| Variables {
            pidfd_id: Some(id.into()),
            ..variables("42", "1", None)
        };
        for (meant, ours, is_for_us) in [
            ("4711", Some(PIDFD_ID), true),
            ("4712", Some(PIDFD_ID), false),
            ("4712", None, true),
        ] {
            let names = meant_for(meant).names(THIS, || ours).unwrap();
            assert_eq!(!names.is_empty(), is_for_us, "{meant} {ours:?}");
        }
        for nonsense in ["", "nonsense", "-1"] {
            let names = meant_for(nonsense).names(THIS, || Some(PIDFD_ID));
            assert_eq!(blamed(&names), Some("LISTEN_PIDFDID"), "{nonsense:?}");
        }
    }

    /// Descriptors as they may be passed: an `l` is a listener, a `d` a datagram socket, an `f` a
    /// file, a `-` was taken; then its name. Any socket will do for one that listens: nothing
    /// here looks at it.
    fn passed(descriptors: &[&str]) -> Vec<Passed> {
        let descriptors = descriptors
            .iter()
            .map(|descriptor| descriptor.split_at(1))
            .zip(3..);
        let passed = descriptors.map(|((kind, name), number)| {
            let socket = || OwnedFd::from(UnixStream::pair().unwrap().0);
            let what = match kind {
                "l" => What::Listener(socket()),
                "d" => What::Else(Some(socket()), PassedKind::Datagram),
                "f" => What::Else(None, PassedKind::Other("a file")),
                _ => What::Taken,
            };
            Passed {
                number,
                name: name.into(),
                what,
            }
        });
        passed.collect()
    }

    /// The number of the descriptor that is chosen, or the error.
    fn chosen(passed: &mut [Passed], wanted: &Activation) -> Result<Option<i32>, ActivationError> {
        let was_taken: Vec<_> = passed
            .iter()
            .map(|passed| matches!(passed.what, What::Taken))
            .collect();
        let socket = choose(passed, wanted)?;
        let taken = passed
            .iter()
            .zip(was_taken)
            .find_map(|(passed, was_taken)| {
                (matches!(passed.what, What::Taken) && !was_taken).then_some(passed.number)
            });
        assert_eq!(
            socket.is_some(),
            taken.is_some(),
            "it is gone from where it was kept"
        );
        Ok(taken)
    }

    fn named(name: &str) -> Activation {
        Activation::Named(name.into())
    }

    #[test]
    fn the_first_that_listens_is_taken_and_then_the_next_and_then_none() {
        for (descriptors, taken) in [
            (&[][..], &[][..]),
            (&["la"], &[3]),
            (&["la", "lb"], &[3, 4]),
            (&["da", "fb", "lc", "dd", "le"], &[5, 7]),
            (&["-a", "lb"], &[4]),
            // Another reader has found its own: what is left is for somebody else.
            (&["-a", "db"], &[]),
            (&["-a"], &[]),
        ] {
            let mut passed = passed(descriptors);
            for number in taken {
                assert_eq!(
                    chosen(&mut passed, &Activation::First).unwrap(),
                    Some(*number),
                    "{descriptors:?}"
                );
            }
            assert_eq!(
                chosen(&mut passed, &Activation::First).unwrap(),
                None,
                "{descriptors:?}"
            );
        }
    }

    #[test]
    fn where_nothing_listens_the_first_is_to_blame() {
        for (descriptors, words) in [
            (&["da"][..], "descriptor 3 (a) is a datagram"),
            (&["f", "db"], "descriptor 3 is a file: "),
        ] {
            let error = chosen(&mut passed(descriptors), &Activation::First)
                .unwrap_err()
                .to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn a_name_is_the_only_thing_that_counts_for_who_asks_for_it() {
        let mut passed = passed(&["la", "lb", "db", "l", "lb", "fc"]);
        for (name, number) in [("b", 4), ("", 6), ("b", 7), ("a", 3)] {
            assert_eq!(
                chosen(&mut passed, &named(name)).unwrap(),
                Some(number),
                "{name:?}"
            );
        }
        for (name, words) in [
            ("a", "the socket named \"a\" has been taken already"),
            ("b", "descriptor 5 (b) is a datagram socket"),
            ("c", "descriptor 8 (c) is a file"),
            ("d", "FileDescriptorName=d"),
        ] {
            let error = chosen(&mut passed, &named(name)).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn without_any_descriptor_no_name_is_missed() {
        assert_eq!(chosen(&mut [], &named("a")).unwrap(), None);
    }

    #[test]
    fn who_wants_none_gets_none() {
        let mut passed = passed(&["la"]);
        assert_eq!(chosen(&mut passed, &Activation::Never).unwrap(), None);
        assert!(matches!(passed[0].what, What::Listener(_)));
    }

    #[test]
    fn a_socket_of_any_kind_is_taken_once_and_a_file_never() {
        let mut passed = passed(&["la", "db", "fc"]);
        let taken: Vec<_> = passed
            .iter_mut()
            .map(|passed| passed.take().is_some())
            .collect();
        assert_eq!(taken, [true, true, false]);
        assert!(passed.iter_mut().all(|passed| passed.take().is_none()));
        assert!(
            matches!(passed[2].what, What::Else(None, _)),
            "still known for what it is"
        );
    }
}
