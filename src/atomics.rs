//! The atomics of the lanes: those of the standard library, or those of loom, which tries every
//! order of what the threads of a model do.

#[cfg(not(all(test, lane_model)))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, fence};

#[cfg(all(test, lane_model))]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, fence};
