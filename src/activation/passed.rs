//! The descriptors that were passed to this process, and which of them a reader gets. Pure.

use std::mem;
use std::os::fd::OwnedFd;

use super::error::ActivationError;
use crate::descriptor_kind::DescriptorKind;
use crate::sys::Family;

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
    pub(crate) descriptor: Descriptor,
}

#[derive(Debug)]
pub(crate) enum Descriptor {
    /// A stream socket that listens.
    Listener(OwnedFd, Family),
    /// Something else. A socket can still be taken by its name; a file cannot.
    Other(Option<OwnedFd>, DescriptorKind),
    Taken,
}

impl Passed {
    /// Takes the socket, if it is one and still there.
    pub(crate) fn take(&mut self) -> Option<OwnedFd> {
        match mem::replace(&mut self.descriptor, Descriptor::Taken) {
            Descriptor::Listener(socket, _) | Descriptor::Other(Some(socket), _) => Some(socket),
            kept @ (Descriptor::Other(None, _) | Descriptor::Taken) => {
                self.descriptor = kept;
                None
            }
        }
    }
}

/// Takes the socket of that family that is wanted. `None` where none was passed, or (without a
/// name) none is left.
pub(crate) fn choose(
    passed: &mut [Passed],
    wanted: &Activation,
    family: Family,
) -> Result<Option<OwnedFd>, ActivationError> {
    let fits = |passed: &&mut Passed| matches!(passed.descriptor, Descriptor::Listener(_, found) if found == family);
    let reason = |passed: &Passed| {
        let kind = match &passed.descriptor {
            Descriptor::Other(_, kind) => *kind,
            Descriptor::Listener(_, found) if *found == family => return None,
            Descriptor::Listener(_, Family::Unix) => DescriptorKind::Unix,
            Descriptor::Listener(_, Family::Tcp) => DescriptorKind::Internet,
            Descriptor::Taken => return None,
        };
        Some(ActivationError::NotAListener {
            number: passed.number,
            name: passed.name.clone(),
            kind,
        })
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
                .any(|passed| matches!(passed.descriptor, Descriptor::Taken));
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

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    /// Descriptors as they may be passed: an `l` is a listener, a `t` one of TCP, a `d` a datagram
    /// socket, an `f` a file, a `-` was taken; then its name. Any socket will do for one that
    /// listens: nothing here looks at it.
    fn passed(descriptors: &[&str]) -> Vec<Passed> {
        let descriptors = descriptors
            .iter()
            .map(|descriptor| descriptor.split_at(1))
            .zip(3..);
        let passed = descriptors.map(|((kind, name), number)| {
            let socket = || OwnedFd::from(UnixStream::pair().unwrap().0);
            let descriptor = match kind {
                "l" => Descriptor::Listener(socket(), Family::Unix),
                "t" => Descriptor::Listener(socket(), Family::Tcp),
                "d" => Descriptor::Other(Some(socket()), DescriptorKind::Datagram),
                "f" => Descriptor::Other(None, DescriptorKind::Other("a file")),
                _ => Descriptor::Taken,
            };
            Passed {
                number,
                name: name.into(),
                descriptor,
            }
        });
        passed.collect()
    }

    /// The number of the descriptor that is chosen, or the error.
    fn chosen(passed: &mut [Passed], wanted: &Activation) -> Result<Option<i32>, ActivationError> {
        let was_taken: Vec<_> = passed
            .iter()
            .map(|passed| matches!(passed.descriptor, Descriptor::Taken))
            .collect();
        let socket = choose(passed, wanted, Family::Unix)?;
        let taken = passed
            .iter()
            .zip(was_taken)
            .find_map(|(passed, was_taken)| {
                (matches!(passed.descriptor, Descriptor::Taken) && !was_taken)
                    .then_some(passed.number)
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
            (&["ta", "lb"], &[4]),
            // Another reader has found its own: what is left is not for a reader.
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
            (&["ta"], "descriptor 3 (a) is a network socket"),
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
        assert!(matches!(passed[0].descriptor, Descriptor::Listener(..)));
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
            matches!(passed[2].descriptor, Descriptor::Other(None, _)),
            "still known for what it is"
        );
    }
}
