//! What stands on the command line, as values.
//! Parsing only: nothing is opened or looked up.

use std::ffi::OsString;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use uds_ipc::Address;

/// The longest message unless set, in bytes: what both ends of the library take.
pub(crate) const MAX_MESSAGE_LEN: usize = 10 * 1024 * 1024;

const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// More threads than any machine has processors measure its scheduler.
const MAX_PRODUCERS: usize = 1024;

/// Each has a thread that waits for it.
const MAX_COMMANDS: usize = 1024;

/// Messages a second.
const RATES: RangeInclusive<f64> = 1e-3..=1e9;

pub(crate) fn address() -> impl TypedValueParser<Value = Address> {
    OsStringValueParser::new().try_map(|text: OsString| Address::new(text))
}

/// Likewise, as it stands: where to listen is for the library to say, which puts a bare file name
/// into systemd's runtime directory.
pub(crate) fn own_address() -> impl TypedValueParser<Value = OsString> {
    OsStringValueParser::new().try_map(|text: OsString| Address::new(&text).map(|_| text))
}

/// Why a descriptor cannot be listened on (`input`) or sent to (`output`): what it is, and what it
/// must be.
pub(crate) fn not_a_stream(
    address: &Address,
    direction: &str,
    kind: impl Display,
    is_terminal: bool,
) -> String {
    if address.to_string() != "-" {
        return format!(
            "{address} is {kind}: it must be a stream socket that is connected, or a pipe"
        );
    }
    let kind = if is_terminal {
        "a terminal".to_owned()
    } else {
        kind.to_string()
    };
    format!(
        "standard {direction} is {kind}: it must be a pipe or a stream socket, as in `uds-ipc send - < app.log | uds-ipc listen -`"
    )
}

/// A time: a number of seconds, or numbers with units.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse() {
        return Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string());
    }
    let why = "it must be seconds, such as 10 or 0.5, or a time such as 200ms, 5m or 1h30m";
    humantime::parse_duration(text).map_err(|_| why.into())
}

/// A time that is not nothing.
pub(crate) fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("it must be more than nothing".into()),
        time => Ok(time),
    }
}

/// How long to measure, in seconds.
pub(crate) fn run_time(text: &str) -> Result<Duration, String> {
    let time = positive_duration(text)?;
    if time <= A_DAY {
        Ok(time)
    } else {
        Err(format!("it must be at most a day, {}", A_DAY.as_secs()))
    }
}

/// The length of a message that the library takes and that is one.
pub(crate) fn message_len(text: &str) -> Result<usize, String> {
    let len = text
        .parse()
        .ok()
        .filter(|len| (1..=MAX_MESSAGE_LEN).contains(len));
    len.ok_or_else(|| format!("it must be a number of bytes from 1 to {MAX_MESSAGE_LEN}"))
}

/// The time between two of so many messages a second.
pub(crate) fn interval(text: &str) -> Result<Duration, String> {
    let rate = text.parse().ok().filter(|rate: &f64| RATES.contains(rate));
    let interval = rate.and_then(|rate| Duration::try_from_secs_f64(rate.recip()).ok());
    interval.ok_or_else(|| "it must be a number from 0.001 to 1000000000".into())
}

/// A message that is one.
pub(crate) fn message() -> impl TypedValueParser<Value = OsString> {
    let whole = |text: OsString| {
        if text.is_empty() {
            Err("a message has at least one byte")
        } else {
            Ok(text)
        }
    };
    OsStringValueParser::new().try_map(whole)
}

/// How many commands run at once.
pub(crate) fn commands(text: &str) -> Result<usize, String> {
    let commands = text
        .parse()
        .ok()
        .filter(|commands| (1..=MAX_COMMANDS).contains(commands));
    commands.ok_or_else(|| format!("it must be a number from 1 to {MAX_COMMANDS}"))
}

/// How many threads send.
pub(crate) fn producers(text: &str) -> Result<usize, String> {
    let producers = text
        .parse()
        .ok()
        .filter(|producers| (1..=MAX_PRODUCERS).contains(producers));
    producers.ok_or_else(|| format!("it must be a number from 1 to {MAX_PRODUCERS}"))
}

/// Permission bits as chmod takes them.
pub(crate) fn mode(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let mode = u32::from_str_radix(digits, 8)
        .ok()
        .filter(|mode| *mode <= 0o777);
    mode.ok_or_else(|| "it must be an octal number up to 777, such as 660".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_in_seconds_or_has_a_unit_and_is_never_negative_or_endless() {
        assert_eq!(duration("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("200ms"), Ok(Duration::from_millis(200)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        for bad in ["", "x", "-1", "-1s", "inf", "nan", "1e30", "5 parsecs"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert!(positive_duration("0").is_err());
    }

    #[test]
    fn a_bench_has_messages_and_somebody_to_send_them_and_an_end() {
        assert_eq!(
            (message_len("1"), message_len("10485760")),
            (Ok(1), Ok(MAX_MESSAGE_LEN))
        );
        assert_eq!(
            (run_time("0.5"), run_time("86400")),
            (Ok(Duration::from_millis(500)), Ok(A_DAY))
        );
        assert!(run_time("0").is_err() && run_time("86401").is_err());
        assert_eq!((producers("1"), producers("1024")), (Ok(1), Ok(1024)));
        for bad in ["", "0", "-1", "x", "10485761", "1.5"] {
            assert!(
                message_len(bad).is_err() && producers(bad).is_err(),
                "{bad}"
            );
        }
    }

    #[test]
    fn commands_run_at_least_one_by_one() {
        assert_eq!((commands("1"), commands("1024")), (Ok(1), Ok(1024)));
        for bad in ["", "0", "-1", "1025", "many"] {
            assert!(commands(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_rate_is_above_zero_and_has_an_end() {
        assert_eq!(interval("0.5"), Ok(Duration::from_secs(2)));
        assert_eq!(interval("1e6"), Ok(Duration::from_micros(1)));
        for bad in ["", "0", "-1", "1e-9", "1e10", "inf", "nan", "fast"] {
            assert!(interval(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_mode_is_octal_and_holds_permission_bits_only() {
        assert_eq!(
            (mode("660"), mode("0660"), mode("0o660")),
            (Ok(0o660), Ok(0o660), Ok(0o660))
        );
        for bad in ["", "8", "1000", "-1", "rw"] {
            assert!(mode(bad).is_err(), "{bad}");
        }
    }
}
