//! NATS JetStream: one stream, a subject for each producer, `PREFIX.NAME`.
//!
//! Each message has the id `PREFIX.NAME-NUMBER`: the server looks ids up in the whole stream, which
//! relays with other prefixes may share. The first of a run expects the sequence of its subject's
//! last message, each further one the id of the message before it in the stream.

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::context::{
    Context, ContextBuilder, GetStreamErrorKind, PublishError, PublishErrorKind,
};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::publish::PublishAck;
use async_nats::jetstream::stream::{Config, LastRawMessageErrorKind, RetentionPolicy, Stream};
use async_nats::jetstream::{Error as StreamError, ErrorCode};
use async_nats::{Client, ConnectOptions, Event, Subject, client};
use futures_util::future::join_all;
use futures_util::{FutureExt, TryStreamExt};
use thiserror::Error;
use tokio::sync::watch;
use tracing::{debug, info};

use super::expectation::{self, Expectation};
use super::{Answer, Outcome, Sink, Trouble};
use crate::rule;
use crate::runs::{Message, Piece, Position};

/// The most bytes of the headers: two ids with the longest prefix and name, and the stream.
const HEADERS: usize = 1024;

/// The server pings a client that is silent; we do so too, to notice a network that is gone.
const PING_INTERVAL: Duration = Duration::from_secs(10);

/// What is known of the stream, and how to reach it.
#[derive(Debug)]
pub(crate) struct Target {
    /// Addresses, separated by commas.
    pub(crate) url: String,
    /// The stream's name.
    pub(crate) stream: String,
    /// Its subjects are `PREFIX.NAME`.
    pub(crate) prefix: String,
    /// Whether to make the stream where it is not there.
    pub(crate) create: bool,
    /// Whether the stream may have replicas.
    pub(crate) allow_replicas: bool,
    /// How long an acknowledgement, an answer, or the handing over of a piece may take.
    pub(crate) ack_timeout: Duration,
    /// The most messages on their way.
    pub(crate) in_flight: usize,
}

/// Why there is no client.
#[derive(Debug, Error)]
#[error("cannot make a NATS client for {url}: {source}")]
pub(crate) struct ConnectError {
    url: String,
    source: async_nats::ConnectError,
}

pub(crate) struct JetStream {
    target: Target,
    connection: Connection,
    context: Context,
    stream: Stream<()>,
    /// Counts the connections that were lost.
    lost: watch::Sender<u64>,
    /// As it was last seen: a stream may be made anew, as another kind.
    is_fit: AtomicBool,
    /// The sequence of the stream's first message, or of the next one where it is empty.
    first: AtomicU64,
    /// The stream's own limit of a message.
    max_message: AtomicUsize,
    #[cfg(feature = "faults")]
    wrong: Option<Arc<Mutex<expectation::Wrong>>>,
}

impl JetStream {
    /// Does not wait for the server.
    pub(crate) async fn connect(
        options: ConnectOptions,
        target: Target,
    ) -> Result<Self, ConnectError> {
        let lost = watch::Sender::new(0);
        let error = Arc::new(Mutex::new(None));
        let (signal, last_error) = (lost.clone(), Arc::clone(&error));
        let options = options
            .name("uds-ipc-relay")
            .connection_timeout(target.ack_timeout)
            .request_timeout(Some(target.ack_timeout))
            .ping_interval(PING_INTERVAL)
            .retry_on_initial_connect()
            // It is asked before the first try too.
            .reconnect_delay_callback(|tries| {
                let doublings = u32::try_from(tries).unwrap_or(u32::MAX).min(5);
                Duration::from_millis(20) * 2_u32.pow(doublings)
            })
            .event_callback(move |event| {
                let (signal, last_error) = (signal.clone(), Arc::clone(&last_error));
                async move {
                    debug!(%event, "NATS");
                    if matches!(event, Event::Disconnected) {
                        signal.send_modify(|count| *count += 1);
                    }
                    if matches!(event, Event::ClientError(_) | Event::ServerError(_)) {
                        *lock(&last_error) = Some(event.to_string());
                    } else if matches!(event, Event::Connected) {
                        *lock(&last_error) = None;
                    }
                }
            });
        let client = options
            .connect(target.url.as_str())
            .await
            .map_err(|source| ConnectError {
                url: target.url.clone(),
                source,
            })?;
        let context = ContextBuilder::new()
            .timeout(target.ack_timeout)
            .ack_timeout(target.ack_timeout)
            // Those that were given up hold their places until their time is over.
            .max_ack_inflight(target.in_flight.saturating_mul(4).max(1024))
            .backpressure_on_inflight(false)
            .build(client.clone());
        let stream = context
            .get_stream_no_info(&target.stream)
            .await
            .map_err(|_| ConnectError {
                url: target.stream.clone(),
                source: async_nats::ConnectErrorKind::Io.into(),
            })?;
        Ok(Self {
            target,
            connection: Connection { client, error },
            context,
            stream,
            lost,
            is_fit: AtomicBool::new(false),
            first: AtomicU64::new(0),
            max_message: AtomicUsize::new(usize::MAX),
            #[cfg(feature = "faults")]
            wrong: expectation::Wrong::from_environment().map(|wrong| Arc::new(wrong.into())),
        })
    }

    fn subject(&self, name: &str) -> String {
        format!("{}.{name}", self.target.prefix)
    }

    /// The message at `index` of the piece, as it is published at the subject `place`.
    fn publish(
        &self,
        piece: &Piece,
        index: usize,
        message: &Message,
        place: &str,
    ) -> PublishMessage {
        let publish = PublishMessage::build()
            .payload(message.body.clone())
            .message_id(id(place, message.number));
        // Those after it expect the one before them, which is in no other stream. Each header costs
        // the server time.
        let publish = match index {
            0 => publish.expected_stream(&self.target.stream),
            _ => publish,
        };
        let expected = expectation::of(piece, index);
        #[cfg(feature = "faults")]
        let expected = self.put_in(expected);
        match expected {
            Expectation::Sequence(sequence) => publish.expected_last_subject_sequence(sequence),
            Expectation::Message(number) => publish.expected_last_message_id(id(place, number)),
            #[cfg(any(test, feature = "faults"))]
            Expectation::Nothing => publish,
            #[cfg(any(test, feature = "faults"))]
            Expectation::StreamSequence(sequence) => publish.expected_last_sequence(sequence),
        }
    }

    /// Publishes what the stream is not to acknowledge.
    async fn publish_silently(
        &self,
        subject: Subject,
        publish: PublishMessage,
    ) -> Result<(), client::PublishError> {
        let message = publish.outbound_message(subject);
        let headers = message.headers.unwrap_or_default();
        self.connection
            .client
            .publish_with_headers(message.subject, headers, message.payload)
            .await
    }

    /// Where the last message at `subject` is, as the stream tells it.
    async fn last(&self, subject: &str) -> Result<Option<Position>, Trouble> {
        let message = match self.stream.get_last_raw_message_by_subject(subject).await {
            Ok(message) => message,
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => {
                return Ok(None);
            }
            Err(error) => {
                self.is_fit.store(false, Ordering::Relaxed);
                return Err(self.connection.no_answer(&error));
            }
        };
        let sequence = message.sequence;
        let id = message.headers.get(async_nats::header::NATS_MESSAGE_ID);
        let number = id.and_then(|id| number(id.as_str(), subject));
        let number = number.ok_or_else(|| {
            Trouble::Blocked(format!(
                "message {sequence} of the stream, at {subject}, is none of the relay's"
            ))
        })?;
        Ok(Some(Position { number, sequence }))
    }

    /// How many messages the stream has at `subject`.
    async fn count(&self, subject: &str) -> Result<usize, Trouble> {
        let unreachable = |error: &(dyn std::error::Error + 'static)| {
            self.is_fit.store(false, Ordering::Relaxed);
            self.connection.no_answer(error)
        };
        let told = self.stream.info_with_subjects(subject).await;
        let mut subjects = told.map_err(|error| unreachable(&error))?;
        let count = subjects.try_next().await;
        let count = count.map_err(|error| unreachable(&error))?;
        Ok(count.map_or(0, |(_, count)| count))
    }

    async fn create(&self) -> Result<Config, Trouble> {
        let config = Config {
            name: self.target.stream.clone(),
            subjects: vec![self.subject(">")],
            // Nothing rests on it, and the default of two minutes costs memory.
            duplicate_window: Duration::from_secs(1),
            ..Config::default()
        };
        let made = self.context.create_stream(config).await;
        let made = made.map_err(|error| self.connection.no_answer(&error))?;
        info!(stream = self.target.stream, "stream made");
        Ok(made.cached_info().config.clone())
    }

    /// Whether the stream can be what the relay needs.
    fn check(&self, config: &Config) -> Result<(), Trouble> {
        let stream = &self.target.stream;
        let wanted = self.subject(">");
        if config.retention != RetentionPolicy::Limits {
            return Err(Trouble::Refused(format!(
                "stream {stream} forgets what is consumed: its retention must be by limits"
            )));
        }
        if config.no_ack {
            let why = format!("stream {stream} sends no acknowledgements");
            return Err(Trouble::Refused(why));
        }
        if !config
            .subjects
            .iter()
            .any(|subject| covers(subject, &wanted))
        {
            let why = format!("stream {stream} has not the subjects {wanted}");
            return Err(Trouble::Refused(why));
        }
        if config.num_replicas > 1 && !self.target.allow_replicas {
            let why =
                format!("stream {stream} has replicas, with which the relay was never tested");
            return Err(Trouble::Refused(why));
        }
        let max = usize::try_from(config.max_message_size).unwrap_or(0);
        let max = if max == 0 { usize::MAX } else { max };
        self.max_message.store(max, Ordering::Relaxed);
        Ok(())
    }

    async fn look(&self) -> Result<(), Trouble> {
        let (config, first) = match self.context.get_stream(&self.target.stream).await {
            Ok(stream) => {
                let info = stream.cached_info();
                (info.config.clone(), info.state.first_sequence)
            }
            Err(error) if self.target.create && is_missing(&error.kind()) => {
                (self.create().await?, 0)
            }
            Err(error) => return Err(self.connection.no_answer(&error)),
        };
        self.first.store(first, Ordering::Relaxed);
        self.check(&config)
    }

    /// The position as the wrong way, if one was put in, takes it to be.
    #[cfg(feature = "faults")]
    async fn mistake(&self, name: &str, position: Position) -> Result<Position, Trouble> {
        let Some(wrong) = &self.wrong else {
            return Ok(position);
        };
        let stream = self.context.get_stream(&self.target.stream).await;
        let stream = stream.map_err(|error| Trouble::Unreachable(text(&error)))?;
        let last = stream.cached_info().state.last_sequence;
        Ok(lock(wrong).told(name, position, last))
    }

    /// What the wrong way, if one was put in, expects in the place of what is right.
    #[cfg(feature = "faults")]
    fn put_in(&self, right: Expectation) -> Expectation {
        let wrong = self.wrong.as_ref();
        wrong.map_or(right, |wrong| lock(wrong).expectation())
    }
}

/// The client, and what it said last of what went wrong.
#[derive(Clone)]
struct Connection {
    client: Client,
    error: Arc<Mutex<Option<String>>>,
}

impl Connection {
    /// Why there is no answer. Where there is no connection, that is what an operator wants to
    /// know, and why there is none.
    fn no_answer(&self, error: &(dyn std::error::Error + 'static)) -> Trouble {
        if self.client.connection_state() == State::Connected {
            return Trouble::Unreachable(text(error));
        }
        Trouble::Unreachable(match &*lock(&self.error) {
            None => "no connection to the server".to_owned(),
            Some(why) => format!("no connection to the server: {why}"),
        })
    }

    /// Why message `number` is not stored, or nobody knows.
    fn not_stored(&self, error: &PublishError, number: u64) -> Trouble {
        let why = text(error);
        let source = std::error::Error::source(error);
        let code = source.and_then(|source| source.downcast_ref::<StreamError>());
        let code = code.map(StreamError::error_code);
        match error.kind() {
            PublishErrorKind::WrongLastMessageId | PublishErrorKind::WrongLastSequence => {
                Trouble::Moved(why)
            }
            PublishErrorKind::MaxPayloadExceeded => Trouble::TooLong { number, why },
            PublishErrorKind::Other if code == Some(ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM) => {
                Trouble::TooLong { number, why }
            }
            PublishErrorKind::Other if code.is_some() => Trouble::Refused(why),
            PublishErrorKind::StreamNotFound
            | PublishErrorKind::TimedOut
            | PublishErrorKind::BrokenPipe
            | PublishErrorKind::MaxAckPending
            | PublishErrorKind::Other => self.no_answer(error),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sink for JetStream {
    const MAY_EXTEND: bool = true;

    async fn probe(&self) -> Result<(), Trouble> {
        let looked = self.look().await;
        self.is_fit.store(looked.is_ok(), Ordering::Relaxed);
        looked
    }

    async fn ask(&self, name: &str) -> Result<Position, Trouble> {
        if !self.is_fit.load(Ordering::Relaxed) {
            self.probe().await?;
        }
        let subject = self.subject(name);
        let position = match self.last(&subject).await? {
            Some(position) => position,
            None if self.count(&subject).await? == 0 => {
                // It is new, was forgotten, or the stream was made anew.
                self.probe().await?;
                Position::default()
            }
            // Nothing, unless it came meanwhile.
            None => self.last(&subject).await?.ok_or_else(|| {
                Trouble::Blocked(format!(
                    "the server has messages at {subject}, and does not find the last of them: servers before 2.12.5 do so once that was removed; a restart of the server mends it"
                ))
            })?,
        };
        #[cfg(feature = "faults")]
        let position = self.mistake(name, position).await?;
        Ok(position)
    }

    async fn send(&self, piece: Piece) -> Result<Answer, Trouble> {
        // From now on: a connection that is lost later has these messages with it.
        let mut lost = self.lost.subscribe();
        let name = Arc::clone(&piece.producer.name);
        let place = self.subject(&name);
        let subject = Subject::from(place.as_str());
        // In a wrong way nothing follows from the last one's.
        #[cfg(feature = "faults")]
        let all_ask = self.wrong.is_some();
        #[cfg(not(feature = "faults"))]
        let all_ask = false;
        let mut acks = Vec::new();
        let hand_over = async {
            for (index, message) in piece.messages.iter().enumerate() {
                let publish = self.publish(&piece, index, message, &place);
                if all_ask || expectation::asks_for_ack(&piece, index) {
                    match self.context.send_publish(subject.clone(), publish).await {
                        Ok(ack) => acks.push((message.number, ack)),
                        Err(error) => {
                            return Some(self.connection.not_stored(&error, message.number));
                        }
                    }
                } else if let Err(error) = self.publish_silently(subject.clone(), publish).await {
                    return Some(not_handed_over(&error, message.number));
                }
            }
            None
        };
        let trouble = tokio::time::timeout(self.target.ack_timeout, hand_over)
            .await
            .unwrap_or_else(|_| {
                let why = "the connection takes no more".to_owned();
                Some(Trouble::Unreachable(why))
            });
        // A message that is too long is told by the answer.
        if acks.is_empty()
            && let Some(Trouble::Unreachable(why)) = trouble
        {
            return Err(Trouble::Unreachable(why));
        }
        #[cfg(feature = "faults")]
        let wrong = self.wrong.clone();
        let connection = self.connection.clone();
        let answer = async move {
            let acks = acks.into_iter().map(async |(number, ack)| {
                let ack: Result<PublishAck, _> = ack.await;
                (number, ack)
            });
            let acks = tokio::select! {
                biased;
                acks = join_all(acks) => acks,
                _ = lost.changed() => {
                    let why = "the connection was lost".to_owned();
                    return Outcome::unknown(Trouble::Unreachable(why));
                }
            };
            let mut stored = Vec::with_capacity(acks.len());
            let mut first_trouble = None;
            for (number, ack) in acks {
                #[cfg(feature = "faults")]
                let is_trusted = wrong
                    .as_ref()
                    .is_some_and(|wrong| lock(wrong).trusts_the_window());
                #[cfg(not(feature = "faults"))]
                let is_trusted = false;
                let why = match ack {
                    Ok(ack) if !ack.duplicate || is_trusted => {
                        let position = Position {
                            number,
                            sequence: ack.sequence,
                        };
                        stored.push(position);
                        #[cfg(feature = "faults")]
                        if let Some(wrong) = &wrong {
                            lock(wrong).acknowledged(&name, position);
                        }
                        continue;
                    }
                    Ok(_) => Trouble::Moved("stored before".to_owned()),
                    Err(error) => connection.not_stored(&error, number),
                };
                first_trouble = first_trouble.or(Some(why));
            }
            Outcome {
                stored,
                trouble: first_trouble.or(trouble),
            }
        };
        Ok(answer.boxed())
    }

    fn longest(&self) -> usize {
        let max = self.max_message.load(Ordering::Relaxed);
        max.min(self.connection.client.max_payload())
            .saturating_sub(HEADERS)
    }

    fn first(&self) -> u64 {
        self.first.load(Ordering::Relaxed)
    }
}

/// The id of a message.
fn id(subject: &str, number: u64) -> String {
    // With its whole room at once: there are two for each message.
    let mut id = String::with_capacity(subject.len() + 21);
    let _ = write!(id, "{subject}-{number}");
    id
}

/// The number in an id.
pub(crate) fn number(id: &str, subject: &str) -> Option<u64> {
    let (its, number) = id.rsplit_once('-')?;
    rule::digits(number).filter(|_| its == subject)
}

/// Whether subjects that fit `wanted`, which may end in `>`, all fit `pattern`.
fn covers(pattern: &str, wanted: &str) -> bool {
    let (mut pattern, mut wanted) = (pattern.split('.'), wanted.split('.'));
    loop {
        match (pattern.next(), wanted.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some("*"), Some(token)) if token != ">" => {}
            (Some(its), Some(token)) if its == token => {}
            _ => return false,
        }
    }
}

fn is_missing(error: &GetStreamErrorKind) -> bool {
    let missing = ErrorCode::STREAM_NOT_FOUND;
    matches!(error, GetStreamErrorKind::JetStream(error) if error.error_code() == missing)
}

/// Why message `number` was not handed over.
fn not_handed_over(error: &client::PublishError, number: u64) -> Trouble {
    let why = text(error);
    match error.kind() {
        client::PublishErrorKind::MaxPayloadExceeded => Trouble::TooLong { number, why },
        client::PublishErrorKind::InvalidSubject | client::PublishErrorKind::Send => {
            Trouble::Unreachable(why)
        }
    }
}

/// An error with its causes.
fn text(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_the_end_of_an_id() {
        assert_eq!(number(&id("logs.a-1", 2), "logs.a-1"), Some(2));
        assert_eq!(number(&id("logs.a-1", 2), "logs.a"), None);
        assert_eq!(number(&id("logs.a", 2), "other.a"), None);
        assert_eq!(number("logs.a-+2", "logs.a"), None);
    }

    /// No server is needed: the relay waits for none.
    #[tokio::test]
    async fn replicas_are_refused_unless_they_are_allowed() {
        for allow_replicas in [false, true] {
            let target = Target {
                url: "nats://127.0.0.1:1".to_owned(),
                stream: "MESSAGES".to_owned(),
                prefix: "messages".to_owned(),
                create: false,
                allow_replicas,
                ack_timeout: Duration::from_secs(1),
                in_flight: 1,
            };
            let sink = JetStream::connect(ConnectOptions::new(), target).await;
            let config = |num_replicas| Config {
                subjects: vec!["messages.>".to_owned()],
                num_replicas,
                ..Config::default()
            };
            let sink = sink.unwrap();
            assert!(sink.check(&config(1)).is_ok());
            assert_eq!(sink.check(&config(3)).is_ok(), allow_replicas);
        }
    }

    #[test]
    fn a_stream_must_have_all_subjects() {
        for pattern in ["logs.>", ">", "*.>"] {
            assert!(covers(pattern, "logs.>"), "{pattern}");
        }
        for pattern in ["logs.*", "logs", "logs.web.>", "other.>", "*"] {
            assert!(!covers(pattern, "logs.>"), "{pattern}");
        }
    }
}
