//! What a reader decides: when a connection's time is over, when another thread is needed, how it
//! ends. Pure: `now` and counts come in. No I/O, no threads, no clock.

use std::time::{Duration, Instant};

use super::decoder::Position;
use crate::event::CloseCause;

/// How long a connection may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) idle_timeout: Duration,
    /// Bytes a second, at least 1.
    pub(super) min_rate: u64,
}

/// When the frame began that a connection is in.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FrameClock {
    frame: u64,
    since: Option<Instant>,
}

impl FrameClock {
    /// When a connection is to be closed that stands at `position` of its frame number `frame` and
    /// has brought nothing more at `now`. `None` is never.
    ///
    /// Between frames every byte counts as life. Inside a frame only its end does: it has the idle
    /// timeout, and the time its length takes at the minimum rate.
    pub(super) fn deadline(
        &mut self,
        now: Instant,
        pace: Pace,
        position: Position,
        frame: u64,
    ) -> Option<Instant> {
        if position == Position::BetweenFrames {
            self.since = None;
            return now.checked_add(pace.idle_timeout);
        }
        if self.frame != frame || self.since.is_none() {
            (self.frame, self.since) = (frame, Some(now));
        }
        let payload = match position {
            Position::InPayload { len } => {
                let nanos = u128::from(len) * 1_000_000_000 / u128::from(pace.min_rate.max(1));
                u64::try_from(nanos).map_or(Duration::MAX, Duration::from_nanos)
            }
            Position::BetweenFrames | Position::InPrefix => Duration::ZERO,
        };
        self.since?
            .checked_add(pace.idle_timeout)?
            .checked_add(payload)
    }

    /// When the frame began that has not ended.
    pub(super) fn since(&self) -> Option<Instant> {
        self.since
    }
}

/// Why a connection is being closed from our side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closing {
    /// Its time is over.
    Overdue,
    /// The reader stops.
    Stop,
    /// The memory it holds is needed.
    NoMemory,
    /// A batch of it was not stored.
    NotStored,
}

/// How a turn at a connection ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It has no more for now.
    Park,
    /// It has had its share, and there may be more.
    Again,
    /// There is no memory for more.
    Starve,
    Close(CloseCause),
    Refuse,
    /// The reader's time to stop was over in the middle of it.
    Cut,
}

/// Why a stream that has come to its end did so.
pub(super) fn end_cause(closing: Option<Closing>, position: Position) -> CloseCause {
    match (closing, position) {
        (Some(Closing::Stop), _) => CloseCause::Stopped,
        (Some(Closing::NoMemory), _) => CloseCause::NoMemory,
        (Some(Closing::NotStored), _) => CloseCause::NotStored,
        (Some(Closing::Overdue), Position::BetweenFrames) => CloseCause::Idle,
        (Some(Closing::Overdue), Position::InPrefix | Position::InPayload { .. }) => {
            CloseCause::TooSlow
        }
        (None, Position::BetweenFrames) => CloseCause::EndOfStream,
        (None, Position::InPrefix | Position::InPayload { .. }) => CloseCause::Truncated,
    }
}

/// The threads that serve connections, in numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Crew {
    pub(super) threads: usize,
    /// How many of them are at work.
    pub(super) busy: usize,
    /// How many times one has finished its work.
    pub(super) turns: u64,
}

/// Whether connections are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accepting {
    /// The listener is armed, or being served.
    Open,
    /// As many connections as there may be: the rest waits in the backlog.
    Full,
    /// The system is short of something: again then.
    Paused { until: Instant },
    /// Nobody will come any more.
    Ended,
}

/// How far a reader has come, as seen from outside.
#[cfg(feature = "systemd")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    all_busy: bool,
    turns: u64,
    /// The messages of the connections that are being served.
    handled: u64,
}

#[cfg(feature = "systemd")]
impl Progress {
    pub(super) fn new(crew: &Crew, handled: u64) -> Self {
        Self {
            all_busy: crew.threads > 0 && crew.all_busy(),
            turns: crew.turns,
            handled,
        }
    }

    /// False if every thread is in a call of the user's, and none has returned from one since
    /// `before`.
    pub(crate) fn has_moved_since(&self, before: &Self) -> bool {
        let hangs = self.all_busy && before.all_busy && !self.has_done_more_than(before);
        !hangs
    }

    /// Whether anything was handled since `before`: as it is all the time while there is much to
    /// drain.
    pub(crate) fn has_done_more_than(&self, before: &Self) -> bool {
        (self.turns, self.handled) != (before.turns, before.handled)
    }
}

impl Crew {
    /// Whether a connection that becomes ready finds nobody.
    pub(super) fn all_busy(&self) -> bool {
        self.busy >= self.threads
    }

    /// Whether a thread that has found nothing to do for a while may go: another must be free, or
    /// nobody would notice what becomes ready next.
    pub(super) fn can_spare_one(&self) -> bool {
        self.busy + 1 < self.threads
    }

    /// How many threads to add, when something is `ready` to be served, and `turns_before` was seen
    /// some milliseconds ago.
    ///
    /// Up to one a processor there is more to gain from a thread than to lose. Beyond, only when
    /// all have been held up for that long: then as many again, so that a crowd of blocking
    /// handlers is outgrown in a few steps.
    pub(super) fn wanted(
        &self,
        ready: bool,
        turns_before: u64,
        processors: usize,
        most: usize,
    ) -> usize {
        if !ready || !self.all_busy() || self.threads == 0 {
            0
        } else if self.threads < processors.min(most) {
            1
        } else if self.turns == turns_before {
            self.threads.min(most.saturating_sub(self.threads))
        } else {
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        idle_timeout: Duration::from_secs(10),
        min_rate: 1000,
    };
    const IN_PAYLOAD: Position = Position::InPayload { len: 5000 };

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any moment will do")]
    fn only_the_end_of_a_frame_counts_inside_it() {
        let start = Instant::now();
        let mut clock = FrameClock::default();
        let mut after = |at, position, frame| {
            clock
                .deadline(start + seconds(at), PACE, position, frame)
                .map(|deadline| deadline - start)
        };
        assert_eq!(after(0, Position::BetweenFrames, 0), Some(seconds(10)));
        assert_eq!(after(5, Position::BetweenFrames, 0), Some(seconds(15)));
        assert_eq!(after(6, Position::InPrefix, 1), Some(seconds(16)));
        assert_eq!(
            after(8, Position::InPrefix, 1),
            Some(seconds(16)),
            "one more byte of the length does not help"
        );
        assert_eq!(
            after(9, IN_PAYLOAD, 1),
            Some(seconds(21)),
            "the frame began at 6"
        );
        assert_eq!(
            after(20, IN_PAYLOAD, 1),
            Some(seconds(21)),
            "a byte now and then does not help"
        );
        assert_eq!(
            after(20, IN_PAYLOAD, 2),
            Some(seconds(35)),
            "the next frame has its own time"
        );
        assert_eq!(after(30, Position::BetweenFrames, 2), Some(seconds(40)));
        assert_eq!(after(31, IN_PAYLOAD, 3), Some(seconds(46)));
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any moment will do")]
    fn times_too_long_to_name_are_never() {
        let pace = Pace {
            idle_timeout: Duration::MAX,
            min_rate: 1,
        };
        let mut clock = FrameClock::default();
        assert_eq!(
            clock.deadline(Instant::now(), pace, Position::BetweenFrames, 0),
            None
        );
        assert_eq!(
            clock.deadline(
                Instant::now(),
                pace,
                Position::InPayload { len: u64::MAX },
                1
            ),
            None
        );
    }

    #[test]
    fn threads_are_added_only_where_connections_wait() {
        let crew = |threads, busy, turns| Crew {
            threads,
            busy,
            turns,
        };
        for (crew, ready, before, wanted) in [
            (crew(0, 0, 9), true, 9, 0),
            (crew(1, 0, 9), true, 9, 0),
            (crew(1, 1, 9), false, 9, 0),
            (crew(1, 1, 9), true, 5, 1),
            (crew(2, 2, 9), true, 5, 0),
            (crew(2, 2, 9), true, 9, 2),
            (crew(16, 16, 9), true, 9, 16),
            (crew(48, 48, 9), true, 9, 16),
            (crew(64, 64, 9), true, 9, 0),
        ] {
            assert_eq!(crew.wanted(ready, before, 2, 64), wanted, "{crew:?}");
        }
        assert_eq!(
            crew(1, 1, 0).wanted(true, 0, 2, 1),
            0,
            "the limit is the limit"
        );
    }

    #[test]
    fn the_last_free_thread_stays() {
        let can_spare = |threads, busy| {
            Crew {
                threads,
                busy,
                turns: 0,
            }
            .can_spare_one()
        };
        assert!(!can_spare(1, 0) && !can_spare(2, 1) && !can_spare(64, 63));
        assert!(can_spare(2, 0) && can_spare(64, 62));
    }
}
