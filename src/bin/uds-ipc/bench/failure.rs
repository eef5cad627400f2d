//! Why a bench came to no figures.
//! Values: what follows from each is the subcommand's business.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

use thiserror::Error;
use uds_ipc::error::StartError;

use super::cases::PATIENCE;

#[derive(Debug, Error)]
pub(super) enum Failure {
    #[error("interrupted: a part of a run gives no figures")]
    Interrupted,
    #[error("the reader's process ended in the middle of a turn: {0}")]
    ReaderEnded(ExitStatus),
    #[error("the reader's process failed: {0}")]
    ReaderFailed(String),
    #[error("nothing has come through for {} s: is this machine too busy?", PATIENCE.as_secs())]
    Silent,
    #[error("the reader's process said what is no answer: {0}")]
    NoAnswer(String),
    #[error(
        "the writer connected {0} times in one turn, which is no measure: is this machine too busy?"
    )]
    Reconnected(u64),
    #[error("the connection of the hand-written sender broke")]
    HandwrittenBroke,
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("cannot {doing}")]
    System {
        doing: &'static str,
        source: io::Error,
    },
    #[error("cannot write the picture {}", path.display())]
    Plot { path: PathBuf, source: io::Error },
    #[error("cannot draw the picture: {0}")]
    Draw(String),
}

impl Failure {
    /// For `map_err`: what was being done.
    pub(super) fn at<E: Into<io::Error>>(doing: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::System {
            doing,
            source: source.into(),
        }
    }
}
