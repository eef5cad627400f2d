//! Redis Streams: a stream for each producer, the key `PREFIX:NAME`, with the entries `NUMBER-0`.
//!
//! A script adds a whole piece, and only where the stream's last entry is the expected one: so a
//! refusal in the middle leaves no hole.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ::redis::aio::{ConnectionManager, ConnectionManagerConfig};
use ::redis::{Client, RedisError, Script, Value};
use futures_util::FutureExt;
use tracing::warn;

use super::{Answer, Outcome, Sink, Trouble};
use crate::rule;
use crate::runs::{Behind, Piece, Position};

/// A call that fails ends the script: what it added before stays, and nothing comes behind it.
const ADD: &str = r"
local last = '0-0'
if redis.call('EXISTS', KEYS[1]) == 1 then
    local info = redis.call('XINFO', 'STREAM', KEYS[1])
    for i = 1, #info, 2 do
        if info[i] == 'last-generated-id' then last = info[i + 1] end
    end
end
if last ~= ARGV[1] then return last end
for i = 3, #ARGV, 2 do
    if ARGV[2] == '0' then
        redis.call('XADD', KEYS[1], ARGV[i] .. '-0', 'message', ARGV[i + 1])
    else
        redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], ARGV[i] .. '-0', 'message', ARGV[i + 1])
    end
end
return ''
";

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(ADD));

/// Redis's limit of a value is 512 MB; this is more than any message has.
const LONGEST: usize = 256 * 1024 * 1024;

pub(crate) struct Redis {
    connection: ConnectionManager,
    prefix: String,
    /// About how many entries a stream keeps; 0 is all.
    max_len: u64,
    is_checked: AtomicBool,
}

impl Redis {
    /// Does not wait for the server.
    pub(crate) fn connect(
        client: &Client,
        prefix: String,
        max_len: u64,
        ack_timeout: Duration,
    ) -> Result<Self, RedisError> {
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(ack_timeout))
            .set_response_timeout(Some(ack_timeout))
            // The relay itself tries again.
            .set_number_of_retries(1);
        Ok(Self {
            connection: client.get_connection_manager_lazy(config)?,
            prefix,
            max_len,
            is_checked: AtomicBool::new(false),
        })
    }

    fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.prefix)
    }
}

impl Sink for Redis {
    const MAY_EXTEND: bool = false;

    async fn probe(&self) -> Result<(), Trouble> {
        let mut connection = self.connection.clone();
        let mut info = ::redis::cmd("INFO");
        let info: String = info
            .arg("persistence")
            .query_async(&mut connection)
            .await
            .map_err(|error| trouble(&error))?;
        if info.contains("\nloading:1") {
            return Err(Trouble::Unreachable("Redis is loading its file".to_owned()));
        }
        if info.contains("\naof_enabled:0") && !self.is_checked.swap(true, Ordering::Relaxed) {
            warn!("Redis has no append-only file: what it acknowledges is lost when it is killed");
        }
        Ok(())
    }

    async fn ask(&self, name: &str) -> Result<Position, Trouble> {
        let mut connection = self.connection.clone();
        let mut ask = ::redis::cmd("XINFO");
        let ask = ask.arg("STREAM").arg(self.key(name));
        let told: Result<Vec<Value>, _> = ask.query_async(&mut connection).await;
        let told = match told {
            Err(error)
                if error
                    .detail()
                    .is_some_and(|text| text.contains("no such key")) =>
            {
                return Ok(Position::default());
            }
            told => told.map_err(|error| trouble(&error))?,
        };
        let mut pairs = told.chunks_exact(2);
        let text = |value: &Value| ::redis::from_redis_value_ref::<String>(value).ok();
        let last = pairs.find_map(|pair| match pair {
            [field, value] if text(field)? == "last-generated-id" => text(value),
            _ => None,
        });
        let last = last.unwrap_or_default();
        let number = last
            .strip_suffix("-0")
            .and_then(rule::digits)
            .ok_or_else(|| {
                let key = self.key(name);
                Trouble::Blocked(format!(
                    "entry {last} of the stream {key} is none of the relay's"
                ))
            })?;
        Ok(position(number))
    }

    async fn send(&self, piece: Piece) -> Result<Answer, Trouble> {
        let before = match piece.behind {
            Behind::Stored(position) => position.number,
            Behind::Sent(number) => number,
        };
        let mut add = SCRIPT.prepare_invoke();
        add.key(self.key(&piece.producer.name));
        add.arg(format!("{before}-0")).arg(self.max_len);
        for message in &piece.messages {
            add.arg(message.number).arg(&message.body[..]);
        }
        let last = piece
            .messages
            .last()
            .map_or(before, |message| message.number);
        let mut connection = self.connection.clone();
        let answer = async move {
            match add.invoke_async::<String>(&mut connection).await {
                Ok(stands) if stands.is_empty() => Outcome {
                    stored: vec![position(last)],
                    trouble: None,
                },
                Ok(stands) => {
                    Outcome::unknown(Trouble::Moved(format!("its last entry is {stands}")))
                }
                Err(error) => Outcome::unknown(trouble(&error)),
            }
        };
        Ok(answer.boxed())
    }

    fn longest(&self) -> usize {
        LONGEST
    }
}

fn position(number: u64) -> Position {
    Position {
        number,
        sequence: number,
    }
}

/// What a server says itself is a refusal, unless it only says that it will be there soon.
fn trouble(error: &RedisError) -> Trouble {
    if error.code() == Some("WRONGTYPE") {
        return Trouble::Blocked(format!("a key is no stream: {error}"));
    }
    let is_there = error
        .code()
        .is_some_and(|code| !["LOADING", "TRYAGAIN"].contains(&code));
    if is_there {
        Trouble::Refused(error.to_string())
    } else {
        Trouble::Unreachable(error.to_string())
    }
}
