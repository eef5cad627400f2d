//! What listening sockets speak.
//! A value.

/// What a socket speaks that connections are accepted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Unix,
    Tcp,
}
