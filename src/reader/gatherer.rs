//! Gathers the messages of a turn into a batch.

use std::sync::Arc;

use super::batch::Messages;
use super::connection::Connection;
use super::connection::batch_end::BatchEnd;
use super::handler::BoxError;
use super::shared::Shared;
use super::target::{Ended, Target};
use crate::buffer_pool::Pool;
use crate::peer::Peer;

/// Calls what it holds with all messages of a turn.
pub(super) struct Gatherer<F>(pub(super) F);

impl<F> Target for Gatherer<F>
where
    F: Fn(Messages, BatchEnd, &Arc<Connection>, &Arc<Shared>) -> Result<Ended, BoxError>
        + Send
        + Sync
        + 'static,
{
    type Gathered = Messages;

    #[inline]
    fn message(&self, message: &[u8], _: &Peer, gathered: &mut Messages) -> Result<(), BoxError> {
        gathered.add(message);
        Ok(())
    }

    fn read_begin(&self, gathered: &mut Messages, buffer: &[u8]) {
        gathered.read_begin(buffer);
    }

    fn read_end(&self, gathered: &mut Messages, buffer: &mut Vec<u8>, pool: &Pool) {
        gathered.read_end(buffer, pool);
    }

    fn batch_end(
        &self,
        gathered: Messages,
        end: BatchEnd,
        connection: &Arc<Connection>,
        shared: &Arc<Shared>,
    ) -> Result<Ended, BoxError> {
        (self.0)(gathered, end, connection, shared)
    }

    fn opened(&self, _: &Peer) {}

    fn closed(&self, _: &Peer) {}
}
