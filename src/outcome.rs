//! What a closure of a user's may return: nothing, or a `Result<(), E>`.
//! A trait and its two implementations.

use std::convert::Infallible;

/// What a closure that this crate calls may return: nothing, or a `Result<(), E>`.
///
/// ```
/// use std::fs::File;
/// use std::io::Write;
/// use uds_ipc::Reader;
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("telemetry.sock");
/// # let writer = uds_ipc::Writer::start(&path)?;
///
/// writer.try_send_with(|buffer| buffer.extend_from_slice(b"cannot fail"))?;
/// writer.try_send_with(|buffer| write!(buffer, "{} of {}", "may", "fail"))?;
///
/// let log = File::create(directory.path().join("log"))?;
/// let reader = Reader::builder(&path).bind()?.start(move |message| (&log).write_all(message))?;
/// # let _ = writer.shutdown(std::time::Duration::ZERO)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// This trait is sealed: `()` and `Result<(), E>` are all there is.
#[diagnostic::on_unimplemented(
    message = "the closure returns `()` or a `Result<(), E>`, not `{Self}`",
    label = "returns `{Self}`"
)]
pub trait Outcome: sealed::Sealed {
    /// The error: `E`, or [`Infallible`] for `()`.
    type Error;

    #[doc(hidden)]
    fn into_result(self) -> Result<(), Self::Error>;
}

mod sealed {
    #[expect(unnameable_types, reason = "that is what seals it")]
    pub trait Sealed {}
}

impl sealed::Sealed for () {}

impl Outcome for () {
    type Error = Infallible;

    #[inline]
    fn into_result(self) -> Result<(), Infallible> {
        Ok(())
    }
}

impl<E> sealed::Sealed for Result<(), E> {}

impl<E> Outcome for Result<(), E> {
    type Error = E;

    #[inline]
    fn into_result(self) -> Self {
        self
    }
}
