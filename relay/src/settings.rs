//! The settings: from arguments, the environment and a file, in this order.
//!
//! Secrets are read from files of their own: arguments and the environment can be seen by others.

#![expect(clippy::struct_field_names, reason = "a field is named as its option")]

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::OsStr;
use clap::{Args, Command, ValueEnum};
use redis::IntoConnectionInfo;
use thiserror::Error;

use crate::relay::Limits;
use crate::rule::Rule;
use crate::runs::Bounds;

/// Where messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engine {
    /// A NATS JetStream stream
    Jetstream,
    /// Redis Streams
    Redis,
    /// Rotating files in a folder
    Files,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// What `uds-ipc-relay run` is told.
#[derive(Clone, Debug, Args)]
pub(crate) struct Settings {
    /// A TOML file with settings, each by the name of its option: `max-message-bytes = "1MiB"`
    #[arg(long, env = "UDS_IPC_RELAY_SETTINGS", value_name = "FILE")]
    pub(crate) settings: Option<PathBuf>,

    /// Where writers connect; a socket that systemd passes takes its place
    #[arg(
        long,
        env = "UDS_IPC_RELAY_LISTEN",
        value_name = "ADDRESS",
        default_value = "/run/uds-ipc-relay/messages.sock"
    )]
    pub(crate) listen: String,
    /// The permissions of the socket, in octal digits
    #[arg(long, env = "UDS_IPC_RELAY_SOCKET_MODE", value_name = "MODE", default_value = "0660", value_parser = mode)]
    pub(crate) socket_mode: u32,
    /// The group of the socket, by name or number
    #[arg(long, env = "UDS_IPC_RELAY_SOCKET_GROUP", value_name = "GROUP")]
    pub(crate) socket_group: Option<String>,
    /// Users that may connect, by name or number; all that the socket lets in unless set
    #[arg(
        long,
        env = "UDS_IPC_RELAY_ALLOW_USERS",
        value_name = "USERS",
        value_delimiter = ','
    )]
    pub(crate) allow_users: Vec<String>,
    /// When a daemon dies whose writer is crash-proof, take over what it had not sent, whosever it
    /// is; unless set only root's and this user's
    #[arg(long, env = "UDS_IPC_RELAY_RECOVER_ANY_USER")]
    pub(crate) recover_any_user: bool,

    /// How a message says whose it is: `prefix` (NAME NUMBER MESSAGE),
    /// `json:NAME_FIELD,NUMBER_FIELD` or `protobuf:NAME_FIELD,NUMBER_FIELD`
    #[arg(
        long,
        env = "UDS_IPC_RELAY_RULE",
        value_name = "RULE",
        default_value = "prefix"
    )]
    pub(crate) rule: Rule,

    /// Where messages go
    #[arg(
        long,
        env = "UDS_IPC_RELAY_TO",
        value_name = "ENGINE",
        default_value = "jetstream"
    )]
    pub(crate) to: Engine,
    /// What subjects (`PREFIX.NAME`) and keys (`PREFIX:NAME`) begin with
    #[arg(
        long,
        env = "UDS_IPC_RELAY_PREFIX",
        value_name = "PREFIX",
        default_value = "messages"
    )]
    pub(crate) prefix: String,

    /// Make the stream where it is not there
    #[arg(long, env = "UDS_IPC_RELAY_CREATE_STREAM")]
    pub(crate) create_stream: bool,
    /// Accept a stream with replicas, with which the relay was never tested
    #[arg(long, env = "UDS_IPC_RELAY_ALLOW_REPLICAS")]
    pub(crate) allow_replicas: bool,
    #[command(flatten)]
    pub(crate) nats: Nats,
    #[command(flatten)]
    pub(crate) redis: Redis,
    #[command(flatten)]
    pub(crate) files: Files,
    #[command(flatten)]
    pub(crate) bounds: Limited,

    /// How long a planned stop may take
    #[arg(long, env = "UDS_IPC_RELAY_STOP_TIMEOUT", value_name = "TIME", default_value = "10s", value_parser = time)]
    pub(crate) stop_timeout: Duration,
    /// Where /health and /metrics are
    #[arg(
        long,
        env = "UDS_IPC_RELAY_HTTP",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:9465"
    )]
    pub(crate) http: SocketAddr,
    /// What is logged, as in `RUST_LOG`
    #[arg(
        long,
        env = "UDS_IPC_RELAY_LOG",
        value_name = "FILTER",
        default_value = "info,async_nats=off"
    )]
    pub(crate) log: String,
    /// How the log is written
    #[arg(
        long,
        env = "UDS_IPC_RELAY_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "text"
    )]
    pub(crate) log_format: LogFormat,
}

/// How NATS is reached.
#[derive(Clone, Debug, Args)]
pub(crate) struct Nats {
    /// Servers, separated by commas
    #[arg(
        long,
        env = "UDS_IPC_RELAY_NATS_URL",
        value_name = "URLS",
        default_value = "nats://127.0.0.1:4222"
    )]
    pub(crate) nats_url: String,
    /// The stream
    #[arg(
        long,
        env = "UDS_IPC_RELAY_STREAM",
        value_name = "NAME",
        default_value = "MESSAGES"
    )]
    pub(crate) stream: String,
    /// A file of credentials (.creds)
    #[arg(long, env = "UDS_IPC_RELAY_NATS_CREDENTIALS", value_name = "FILE")]
    pub(crate) nats_credentials: Option<PathBuf>,
    /// A file with the seed of an nkey
    #[arg(long, env = "UDS_IPC_RELAY_NATS_NKEY", value_name = "FILE")]
    pub(crate) nats_nkey: Option<PathBuf>,
    /// A file with a token
    #[arg(long, env = "UDS_IPC_RELAY_NATS_TOKEN", value_name = "FILE")]
    pub(crate) nats_token: Option<PathBuf>,
    /// A user
    #[arg(long, env = "UDS_IPC_RELAY_NATS_USER", value_name = "NAME")]
    pub(crate) nats_user: Option<String>,
    /// A file with the user's password
    #[arg(long, env = "UDS_IPC_RELAY_NATS_PASSWORD", value_name = "FILE")]
    pub(crate) nats_password: Option<PathBuf>,
    /// Connect with TLS only
    #[arg(long, env = "UDS_IPC_RELAY_NATS_TLS")]
    pub(crate) nats_tls: bool,
    /// Certificates of authorities that are trusted besides the system's
    #[arg(long, env = "UDS_IPC_RELAY_NATS_CA", value_name = "FILE")]
    pub(crate) nats_ca: Option<PathBuf>,
    /// The relay's own certificate
    #[arg(long, env = "UDS_IPC_RELAY_NATS_CERTIFICATE", value_name = "FILE")]
    pub(crate) nats_certificate: Option<PathBuf>,
    /// The key of the certificate
    #[arg(long, env = "UDS_IPC_RELAY_NATS_KEY", value_name = "FILE")]
    pub(crate) nats_key: Option<PathBuf>,
}

/// How Redis is reached.
#[derive(Clone, Debug, Args)]
pub(crate) struct Redis {
    /// The server; with TLS: rediss://
    #[arg(
        long,
        env = "UDS_IPC_RELAY_REDIS_URL",
        value_name = "URL",
        default_value = "redis://127.0.0.1:6379"
    )]
    pub(crate) redis_url: String,
    /// A user
    #[arg(long, env = "UDS_IPC_RELAY_REDIS_USER", value_name = "NAME")]
    pub(crate) redis_user: Option<String>,
    /// A file with the password
    #[arg(long, env = "UDS_IPC_RELAY_REDIS_PASSWORD", value_name = "FILE")]
    pub(crate) redis_password: Option<PathBuf>,
    /// Certificates of authorities, in the place of the system's
    #[arg(long, env = "UDS_IPC_RELAY_REDIS_CA", value_name = "FILE")]
    pub(crate) redis_ca: Option<PathBuf>,
    /// About how many entries a stream keeps; 0 is all
    #[arg(
        long,
        env = "UDS_IPC_RELAY_REDIS_MAX_LEN",
        value_name = "ENTRIES",
        default_value_t = 0
    )]
    pub(crate) redis_max_len: u64,
}

/// How files are written.
#[derive(Clone, Debug, Args)]
pub(crate) struct Files {
    /// Their folder
    #[arg(
        long,
        env = "UDS_IPC_RELAY_FILES_FOLDER",
        value_name = "FOLDER",
        default_value = "/var/lib/uds-ipc-relay"
    )]
    pub(crate) files_folder: PathBuf,
    /// When a file has so many bytes, the next one begins
    #[arg(long, env = "UDS_IPC_RELAY_FILES_MAX_BYTES", value_name = "BYTES", default_value = "64MiB", value_parser = bytes)]
    pub(crate) files_max_bytes: usize,
    /// How many files are kept; 0 is all
    #[arg(
        long,
        env = "UDS_IPC_RELAY_FILES_KEEP",
        value_name = "FILES",
        default_value_t = 0
    )]
    pub(crate) files_keep: usize,
    /// Do not compress
    #[arg(long, env = "UDS_IPC_RELAY_FILES_PLAIN")]
    pub(crate) files_plain: bool,
}

/// The bounds.
#[derive(Clone, Debug, Args)]
pub(crate) struct Limited {
    /// With so many messages accepted and not confirmed, no more are read
    #[arg(long, env = "UDS_IPC_RELAY_MAX_IN_FLIGHT_MESSAGES", value_name = "MESSAGES", default_value_t = 65_536, value_parser = at_least_1)]
    pub(crate) max_in_flight_messages: usize,
    /// With so many bytes of them, no more are read
    #[arg(long, env = "UDS_IPC_RELAY_MAX_IN_FLIGHT_BYTES", value_name = "BYTES", default_value = "64MiB", value_parser = bytes)]
    pub(crate) max_in_flight_bytes: usize,
    /// A message that is longer, or longer than the engine takes, is left out
    #[arg(long, env = "UDS_IPC_RELAY_MAX_MESSAGE_BYTES", value_name = "BYTES", default_value = "1MiB", value_parser = bytes)]
    pub(crate) max_message_bytes: usize,
    /// The most messages of one producer on their way to the engine
    #[arg(long, env = "UDS_IPC_RELAY_MAX_RUN_MESSAGES", value_name = "MESSAGES", default_value_t = 4_096, value_parser = at_least_1)]
    pub(crate) max_run_messages: usize,
    /// The most producers that are remembered while they are silent
    #[arg(long, env = "UDS_IPC_RELAY_MAX_PRODUCERS", value_name = "PRODUCERS", default_value_t = 4_096, value_parser = at_least_1)]
    pub(crate) max_producers: usize,
    /// How long an acknowledgement may take
    #[arg(long, env = "UDS_IPC_RELAY_ACK_TIMEOUT", value_name = "TIME", default_value = "1s", value_parser = time)]
    pub(crate) ack_timeout: Duration,
    /// The first wait after trouble
    #[arg(long, env = "UDS_IPC_RELAY_RETRY_MIN", value_name = "TIME", default_value = "5ms", value_parser = time)]
    pub(crate) retry_min: Duration,
    /// The longest wait after trouble; it goes on for ever
    #[arg(long, env = "UDS_IPC_RELAY_RETRY_MAX", value_name = "TIME", default_value = "1s", value_parser = time)]
    pub(crate) retry_max: Duration,
}

/// The most messages that are handed to an engine together, and their bytes.
const PIECE_MESSAGES: usize = 256;
const PIECE_BYTES: usize = 1024 * 1024;

impl Limited {
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            in_flight_messages: self.max_in_flight_messages,
            in_flight_bytes: self.max_in_flight_bytes,
            message_bytes: self.max_message_bytes,
            retry_min: self.retry_min,
            retry_max: self.retry_max,
            runs: Bounds {
                run_messages: self.max_run_messages,
                piece_messages: PIECE_MESSAGES,
                piece_bytes: PIECE_BYTES,
                may_extend: true,
                producers: self.max_producers,
            },
        }
    }
}

/// Why the settings cannot be used.
#[derive(Debug, Error)]
pub(crate) enum SettingsError {
    #[error("cannot read {}: {source}", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is no TOML: {source}", .path.display())]
    Toml {
        path: PathBuf,
        source: toml::de::Error,
    },
    #[error("{} has the setting {name}, which there is not: names are those of the options, such as max-message-bytes", .path.display())]
    Unknown { path: PathBuf, name: String },
    #[error("{} has no text, number or boolean for {name}", .path.display())]
    Kind { path: PathBuf, name: String },
    #[error("{0} has a password in it, which others could see: name a file with it instead")]
    Password(&'static str),
    #[error("{0} needs {1}")]
    Alone(&'static str, &'static str),
    #[error("{0} is no prefix: words of letters, digits, `-`, `_`, with `.` between them")]
    Prefix(String),
    #[error("{name} is not known as a {kind} of this machine")]
    Nobody { kind: &'static str, name: String },
}

/// `user:password@` in any of the servers.
fn has_user(urls: &str) -> bool {
    let mut users = urls.split(',').filter_map(|url| url.rsplit_once('@'));
    users.any(|(user, _)| !user.is_empty())
}

impl Nats {
    /// Checks what arguments alone do not show: what is in the file needs nothing for clap.
    pub(crate) fn check(&self) -> Result<(), SettingsError> {
        if has_user(&self.nats_url) {
            return Err(SettingsError::Password("nats-url"));
        }
        let pairs = [
            ("nats-user", self.nats_user.is_some()),
            ("nats-password", self.nats_password.is_some()),
            ("nats-certificate", self.nats_certificate.is_some()),
            ("nats-key", self.nats_key.is_some()),
        ];
        for pair in pairs.chunks_exact(2) {
            if let [(is_set, true), (is_not, false)] | [(is_not, false), (is_set, true)] = pair {
                return Err(SettingsError::Alone(is_set, is_not));
            }
        }
        Ok(())
    }
}

/// Makes what the file at `path` says the defaults of the command.
pub(crate) fn with_file(mut command: Command, path: &Path) -> Result<Command, SettingsError> {
    let text = read(path)?;
    let table: toml::Table = text.parse().map_err(|source| SettingsError::Toml {
        path: path.to_owned(),
        source,
    })?;
    for (name, value) in table {
        let is_it = |argument: &&clap::Arg| argument.get_long() == Some(&name);
        let Some(id) = command
            .get_arguments()
            .find(is_it)
            .map(|its| its.get_id().clone())
        else {
            let path = path.to_owned();
            return Err(SettingsError::Unknown { path, name });
        };
        let value = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Boolean(is_set) => is_set.to_string(),
            toml::Value::Float(_)
            | toml::Value::Datetime(_)
            | toml::Value::Array(_)
            | toml::Value::Table(_) => {
                let path = path.to_owned();
                return Err(SettingsError::Kind { path, name });
            }
        };
        command = command.mut_arg(id, |argument| argument.default_value(OsStr::from(value)));
    }
    Ok(command)
}

impl Settings {
    /// Checks what arguments alone do not show.
    pub(crate) fn check(&self) -> Result<(), SettingsError> {
        self.nats.check()?;
        let url = self.redis.redis_url.as_str();
        // `unix:///path?pass=…` has one too.
        let info = url.into_connection_info();
        let is_inside = info.is_ok_and(|info| info.redis_settings().password().is_some());
        if is_inside || has_user(url) {
            return Err(SettingsError::Password("redis-url"));
        }
        if self.redis.redis_user.is_some() && self.redis.redis_password.is_none() {
            return Err(SettingsError::Alone("redis-user", "redis-password"));
        }
        if !crate::rule::is_name(&self.prefix) {
            return Err(SettingsError::Prefix(self.prefix.clone()));
        }
        Ok(())
    }

    /// The numbers of the users that may connect.
    pub(crate) fn allowed_users(&self) -> Result<Vec<u32>, SettingsError> {
        let uid = |name: &String| {
            if let Ok(uid) = name.parse() {
                return Ok(uid);
            }
            let user = nix::unistd::User::from_name(name).ok().flatten();
            let user = user.map(|user| user.uid.as_raw());
            let name = name.clone();
            user.ok_or(SettingsError::Nobody { kind: "user", name })
        };
        self.allow_users.iter().map(uid).collect()
    }

    /// The number of the socket's group.
    pub(crate) fn group(&self) -> Result<Option<u32>, SettingsError> {
        let Some(name) = &self.socket_group else {
            return Ok(None);
        };
        if let Ok(gid) = name.parse() {
            return Ok(Some(gid));
        }
        let group = nix::unistd::Group::from_name(name).ok().flatten();
        let group = group.map(|group| group.gid.as_raw());
        let name = name.clone();
        group.map(Some).ok_or(SettingsError::Nobody {
            kind: "group",
            name,
        })
    }
}

/// The text of a file, without the line break at its end.
pub(crate) fn read(path: &Path) -> Result<String, SettingsError> {
    let text = fs::read_to_string(path).map_err(|source| SettingsError::Read {
        path: path.to_owned(),
        source,
    })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn mode(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| *mode <= 0o777);
    mode.ok_or_else(|| "permissions are octal digits, such as 0660".to_owned())
}

fn at_least_1(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "a number of at least 1 is needed".to_owned())
}

/// A number and its unit.
fn split(text: &str) -> Option<(u64, &str)> {
    let end = text
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    Some((
        number.parse().ok().filter(|number| *number > 0)?,
        unit.trim(),
    ))
}

/// A time: `500ms`, `10s`, `2min`.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let wrong = || "a time is a number above 0 and a unit: 500ms, 10s, 2min".to_owned();
    let (number, unit) = split(text).ok_or_else(wrong)?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "min" => Ok(Duration::from_secs(number.saturating_mul(60))),
        _ => Err(wrong()),
    }
}

/// A size: `1048576`, `512KiB`, `64MiB`, `1GiB`.
fn bytes(text: &str) -> Result<usize, String> {
    let wrong = || "a size is a number above 0, with KiB, MiB or GiB or without a unit".to_owned();
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let factor = match unit {
        "" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    let bytes = number
        .checked_mul(factor)
        .and_then(|bytes| usize::try_from(bytes).ok());
    bytes.ok_or_else(wrong)
}
