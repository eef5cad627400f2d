//! When a connection has taken too long: between frames by its silence, inside a frame by its rate.
//! Pure: `now` comes in. No I/O, no threads, no clock.

use std::time::{Duration, Instant};

use super::decoder::Position;
use crate::deadline::after;

/// How long a connection may take.
#[derive(Clone, Copy, Debug)]
pub(in crate::reader) struct Pace {
    pub(in crate::reader) idle_timeout: Duration,
    /// Bytes a second, at least 1.
    pub(in crate::reader) min_receive_rate: u64,
}

/// When the frame began in which a connection stands.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::reader) struct FrameClock {
    frame: u64,
    since: Option<Instant>,
}

impl FrameClock {
    /// When to close a connection that stands at `position` of its frame number `frame`, and of
    /// which nothing more is there at `now`. `None` is never.
    ///
    /// Between frames every byte starts the idle timeout again. Inside a frame no byte does: the
    /// whole frame has the idle timeout, and the time of its bytes that have come at the minimum
    /// rate. A length that was only announced gives no time.
    pub(in crate::reader) fn deadline(
        &mut self,
        now: Instant,
        pace: Pace,
        position: Position,
        frame: u64,
    ) -> Option<Instant> {
        if position == Position::BetweenFrames {
            self.since = None;
            return after(now, pace.idle_timeout);
        }
        if self.frame != frame || self.since.is_none() {
            (self.frame, self.since) = (frame, Some(now));
        }
        let receiving = match position {
            Position::InPayload { received } => {
                let nanos =
                    u128::from(received) * 1_000_000_000 / u128::from(pace.min_receive_rate.max(1));
                u64::try_from(nanos).map_or(Duration::MAX, Duration::from_nanos)
            }
            Position::BetweenFrames | Position::InPrefix => Duration::ZERO,
        };
        after(after(self.since?, pace.idle_timeout)?, receiving)
    }

    /// When the frame began, if the connection stands in one.
    pub(in crate::reader) fn since(&self) -> Option<Instant> {
        self.since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        idle_timeout: Duration::from_secs(10),
        min_receive_rate: 1000,
    };

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any moment will do")]
    fn a_frame_has_the_idle_timeout_and_the_time_of_the_bytes_that_came() {
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
        let received = |received| Position::InPayload { received };
        assert_eq!(
            after(9, received(0), 1),
            Some(seconds(16)),
            "an announced length does not help, and the frame began at 6"
        );
        assert_eq!(
            after(10, received(4_000), 1),
            Some(seconds(20)),
            "bytes that come at the minimum rate gain the time that they take"
        );
        assert_eq!(
            after(19, received(5_000), 1),
            Some(seconds(21)),
            "bytes that come more slowly gain less"
        );
        assert_eq!(
            after(20, received(5_000), 1),
            Some(seconds(21)),
            "silence does not help"
        );
        assert_eq!(
            after(20, received(5_000), 2),
            Some(seconds(35)),
            "the next frame has its own time"
        );
        assert_eq!(after(30, Position::BetweenFrames, 2), Some(seconds(40)));
        assert_eq!(after(31, received(1_000), 3), Some(seconds(42)));
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any moment will do")]
    fn times_too_long_to_name_are_never() {
        let pace = Pace {
            idle_timeout: Duration::MAX,
            min_receive_rate: 1,
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
                Position::InPayload { received: u64::MAX },
                1
            ),
            None
        );
    }
}
