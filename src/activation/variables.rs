//! The variables of socket activation, parsed: `LISTEN_PID`, `LISTEN_PIDFDID`, `LISTEN_FDS` and
//! `LISTEN_FDNAMES`.
//! Pure but for reading the environment. See
//! [sd_listen_fds(3)](https://www.freedesktop.org/software/systemd/man/latest/sd_listen_fds.html).

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::error::ActivationError;

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

#[cfg(test)]
mod tests {
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
}
