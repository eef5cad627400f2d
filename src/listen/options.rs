//! How a socket is to be made.
//! A value.

use crate::buffer_size::BufferSize;

/// How a socket is to be made.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(
    not(unix),
    expect(dead_code, reason = "there is no file to have an owner")
)]
pub(crate) struct Options {
    pub(crate) mode: u32,
    pub(crate) owner: Option<u32>,
    pub(crate) group: Option<u32>,
    pub(crate) recv_buffer_size: BufferSize,
    pub(crate) allow_remote: bool,
}
