//! Conversions of numbers that cannot fail on any platform Rust has.

/// A length as a count: a `usize` has 64 bits at most.
#[inline]
pub(crate) fn to_u64(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
