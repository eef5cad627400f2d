//! What a fuzzer needs of the writer's machines.

use crate::metrics::Tally;
use crate::writer::ack_tracker::AckTracker;
use crate::writer::queue::outbox::Taken;

/// Takes the receipts of a peer that was sent `written` messages. Returns how many they cover, or
/// `None` when they cannot be true.
#[must_use]
pub fn take_receipts(written: u64, pieces: &[&[u8]]) -> Option<u64> {
    let mut acks = AckTracker::default();
    acks.on_connected();
    let whole = Tally {
        messages: written,
        bytes: 0,
    };
    acks.on_written(
        1,
        &Taken {
            whole,
            requested_after: Some(written),
            ..Taken::default()
        },
    );
    let mut covered = 0;
    for piece in pieces {
        let (more, believed) = acks.on_receipts(piece);
        believed.ok()?;
        covered += more;
        assert!(
            covered <= written,
            "{covered} of {written} messages are said to be covered"
        );
        assert!(
            acks.is_owed() || covered == written,
            "the answer is not complete"
        );
    }
    Some(covered)
}
