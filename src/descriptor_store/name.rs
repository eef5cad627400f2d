//! The names of what is stored: which end of which address it is of, and what that knew of it.
//! Pure. systemd takes up to 255 ASCII characters, without a colon (`FDNAME=`).

use std::str::FromStr;
use std::time::Duration;

use crate::arena::ticket::Ticket;
use crate::peer::{Credentials, Identity};

/// Whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Reader,
    Writer,
}

impl End {
    /// What the names of all begin with that this end of an address has stored.
    #[cfg(any(test, all(unix, feature = "systemd")))]
    pub(crate) fn prefix(self, address: &[u8]) -> String {
        let end = match self {
            Self::Reader => "reader",
            Self::Writer => "writer",
        };
        format!("uds-ipc-{end}-{:016x}-", fnv_1a(address))
    }
}

/// The same for a build with another compiler, which the hash of the standard library need not be.
#[cfg(any(test, all(unix, feature = "systemd")))]
fn fnv_1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// What a writer says of its arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stored {
    /// Since when it was kept, from 1970 on. The manager may pass the newest first.
    pub(crate) since: Duration,
    /// Of the memory.
    pub(crate) number: u64,
}

impl Stored {
    pub(crate) fn encode(self) -> String {
        format!("{}-{}", self.since.as_micros(), self.number)
    }

    /// `None` of what is no such name.
    pub(crate) fn decode(name: &str) -> Option<Self> {
        let (since, memory) = name.split_once('-')?;
        Some(Self {
            since: Duration::from_micros(number(since)?),
            number: number(memory)?,
        })
    }
}

/// What a reader knew of an arena when it stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// Whose it is.
    pub(crate) identity: Identity,
    /// The newest of its connections.
    pub(crate) ticket: Ticket,
    /// What has a lower number has come.
    pub(crate) received: u64,
}

impl Known {
    /// As a name of the memory with this number. `None` of somebody who is not known: nobody's
    /// memory is taken of whom the kernel does not say who it is.
    pub(crate) fn encode(self, memory: u64) -> Option<String> {
        let Credentials { uid, gid, pid } = self.identity.credentials()?;
        let Ticket {
            connection,
            first,
            is_exact,
        } = self.ticket;
        // No process has the number 0.
        let (pid, is_exact) = (pid.unwrap_or(0), u8::from(is_exact));
        let received = self.received;
        Some(format!(
            "{uid}-{gid}-{pid}-{connection}-{first}-{is_exact}-{received}-{memory}"
        ))
    }

    /// `None` of what is no such name.
    pub(crate) fn decode(name: &str) -> Option<Self> {
        let parts: Vec<_> = name.split('-').collect();
        let [uid, gid, pid, connection, first, is_exact, received, memory] = parts[..] else {
            return None;
        };
        let _: u64 = number(memory)?;
        let credentials = Credentials {
            uid: number(uid)?,
            gid: number(gid)?,
            pid: Some(number(pid)?).filter(|pid| *pid > 0),
        };
        let ticket = Ticket {
            connection: number(connection)?,
            first: number(first)?,
            is_exact: number::<u8>(is_exact)? == 1,
        };
        Some(Self {
            identity: Identity::Process(credentials),
            ticket,
            received: number(received)?,
        })
    }
}

fn number<N: FromStr>(text: &str) -> Option<N> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What systemd takes.
    fn is_good(name: &str) -> bool {
        name.len() <= 255
            && name
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b':')
    }

    #[test]
    fn what_was_kept_first_comes_first() {
        let name = |micros, number| {
            let since = Duration::from_micros(micros);
            Stored { since, number }.encode()
        };
        let mut names = [name(1_000, 1), name(99, 7), name(1_000, 0)];
        assert!(names.iter().all(|name| is_good(name)));
        names.sort_by_cached_key(|name| Stored::decode(name));
        assert_eq!(names, ["99-7", "1000-0", "1000-1"]);
        for nonsense in ["", "1", "-", "1-x", "x-1"] {
            assert_eq!(Stored::decode(nonsense), None);
        }
    }

    #[test]
    fn each_end_of_each_address_has_names_of_its_own() {
        let names = [
            End::Reader.prefix(b"/run/a.sock"),
            End::Reader.prefix(b"/run/b.sock"),
            End::Writer.prefix(b"/run/a.sock"),
        ];
        // For ever the same: another version may have stored it.
        assert_eq!(names[0], "uds-ipc-reader-ea4ba7cb7c199087-");
        assert!(names[0] != names[1] && names[0][8..] != names[2][8..]);
        assert!(names.iter().all(|name| is_good(name)));
    }

    #[test]
    fn nobody_knows_whose_is_not_stored() {
        let known = Known {
            identity: Identity::Unknown,
            ticket: Ticket {
                connection: 1,
                first: 0,
                is_exact: true,
            },
            received: 0,
        };
        assert_eq!(known.encode(1), None);
    }

    proptest! {
        #[test]
        fn a_name_says_what_was_put_into_it(
            (uid, gid, pid) in any::<(u32, u32, Option<u32>)>(),
            (connection, first, is_exact) in any::<(u64, u64, bool)>(),
            (received, memory) in any::<(u64, u64)>(),
        ) {
            let pid = pid.filter(|pid| *pid > 0);
            let known = Known {
                identity: Identity::Process(Credentials { uid, gid, pid }),
                ticket: Ticket { connection, first, is_exact },
                received,
            };
            let name = known.encode(memory).unwrap();
            prop_assert_eq!(Known::decode(&name), Some(known));
            let whole = format!("{}{name}", End::Reader.prefix(b"/run/s"));
            prop_assert!(is_good(&whole), "{}", whole);
        }

        #[test]
        fn nonsense_is_no_name(
            parts in prop::collection::vec("[0-9a-z+ ]{0,21}", 0..12),
            text in any::<String>(),
        ) {
            for name in [parts.join("-"), text] {
                if let Some(known) = Known::decode(&name) {
                    let parts: Vec<_> = name.split('-').collect();
                    prop_assert_eq!(parts.len(), 8);
                    prop_assert!(known.encode(0).is_some());
                }
            }
        }
    }
}
