//! The clients in other languages, `examples/clients`, against the crate: what the vectors say, and
//! what arrives when either end is killed or stopped.

mod addresses;
#[cfg(feature = "calls")]
mod calls;
mod deaths;
mod mistakes;
mod programs;
#[cfg(target_os = "linux")]
mod stops;
mod vectors;
