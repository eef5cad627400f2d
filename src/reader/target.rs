//! What a reader's threads give messages to: a handler, or batches that somebody takes away.

use std::sync::Arc;

use super::connection::Connection;
use super::connection::batch_end::BatchEnd;
use super::handler::{BoxError, Handler};
use super::shared::Shared;
use crate::buffer_pool::Pool;
use crate::peer::Peer;

pub(super) trait Target: Send + Sync + 'static {
    /// What of a turn is kept to its end.
    type Gathered: Default;

    /// One message, which may lie in the buffer of the read that brought it.
    fn message(
        &self,
        message: &[u8],
        peer: &Peer,
        gathered: &mut Self::Gathered,
    ) -> Result<(), BoxError>;

    /// A read has filled `buffer`, and is decoded next.
    fn read_begin(&self, gathered: &mut Self::Gathered, buffer: &[u8]) {
        let _ = (gathered, buffer);
    }

    /// It is decoded. It may be kept, and another one put in its place.
    fn read_end(&self, gathered: &mut Self::Gathered, buffer: &mut Vec<u8>, pool: &Pool) {
        let _ = (gathered, buffer, pool);
    }

    /// The turn is over, and had messages.
    fn batch_end(
        &self,
        gathered: Self::Gathered,
        end: BatchEnd,
        connection: &Arc<Connection>,
        shared: &Arc<Shared>,
    ) -> Result<Ended, BoxError>;

    fn opened(&self, peer: &Peer);

    fn closed(&self, peer: &Peer);
}

/// What has become of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Stored,
    /// It was handed out, and is settled later.
    Out,
}

impl<H: Handler> Target for H {
    type Gathered = ();

    #[inline]
    fn message(&self, message: &[u8], peer: &Peer, (): &mut ()) -> Result<(), BoxError> {
        Handler::message(self, message, peer).map_err(Into::into)
    }

    fn batch_end(
        &self,
        (): (),
        _: BatchEnd,
        connection: &Arc<Connection>,
        _: &Arc<Shared>,
    ) -> Result<Ended, BoxError> {
        Handler::batch_end(self, &connection.peer)
            .map(|()| Ended::Stored)
            .map_err(Into::into)
    }

    fn opened(&self, peer: &Peer) {
        Handler::opened(self, peer);
    }

    fn closed(&self, peer: &Peer) {
        Handler::closed(self, peer);
    }
}
