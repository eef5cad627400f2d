//! Why something is no address.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why something is no address.
///
/// Each says what to write: the nearest address to what was given, where there is one.
///
/// ```
/// use uds_ipc::{Address, error::AddressError};
///
/// let error = Address::new("tcp://localhost:7000").unwrap_err();
/// let AddressError::LooksLike { instead, .. } = &error else { panic!() };
/// assert_eq!(instead, "tcp:localhost:7000");
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AddressError {
    /// Nothing was given.
    #[error("the socket's path is empty: give a path, such as /run/collector/telemetry.sock")]
    Empty,
    /// A NUL byte, at which the kernel would cut the path off.
    #[error("the socket's path {address:?} has a NUL byte: remove it")]
    #[non_exhaustive]
    Nul {
        /// What was given.
        address: PathBuf,
    },
    /// More bytes than the kernel's address has room for. It counts the absolute path: a relative
    /// one would be another file after a change of the working directory.
    #[error("the socket's path {} is {len} bytes long, longer than the limit of {limit}: choose a shorter one; a symbolic link to its directory makes one, or on Linux an abstract name, @NAME", path.display())]
    #[non_exhaustive]
    TooLong {
        /// The absolute path, or the abstract name.
        path: PathBuf,
        /// Its length, in bytes.
        len: usize,
        /// The most there can be, in bytes: [`Address::MAX_LEN`](crate::Address::MAX_LEN).
        limit: usize,
    },
    /// `@` alone, for which the kernel would make up a name.
    #[error("the address \"@\" names no abstract socket: write a name after the @")]
    NoName,
    /// Something else than an address, by its looks.
    #[error("the address {} looks like {what}: write {instead}", address.display())]
    #[non_exhaustive]
    LooksLike {
        /// What was given.
        address: PathBuf,
        /// What it looks like, in words.
        what: &'static str,
        /// What to write in its place, in words.
        instead: String,
    },
    /// The address of something that is no stream, or that is not spoken here.
    #[error("the address {} names {what}: write {instead}", address.display())]
    #[non_exhaustive]
    NoSuchKind {
        /// What was given.
        address: PathBuf,
        /// What it names, in words.
        what: &'static str,
        /// What to write in its place, in words.
        instead: String,
    },
    /// Neither an IP address nor a name that a host can have.
    #[error("the host {host:?} of the address {} {what}: write {instead}", address.display())]
    #[non_exhaustive]
    BadHost {
        /// What was given.
        address: PathBuf,
        /// The host in it.
        host: String,
        /// What is wrong with it, in words.
        what: &'static str,
        /// What to write in its place, in words.
        instead: String,
    },
    /// A host without a port.
    #[error("the address {} has no port: write {instead}", address.display())]
    #[non_exhaustive]
    NoPort {
        /// What was given.
        address: PathBuf,
        /// What to write in its place, in words.
        instead: String,
    },
    /// A port that is no number from 0 to 65535, or has a sign or zeros in front.
    #[error("the port {port:?} of the address {} is no number from 0 to 65535, without a sign and zeros in front: write {instead}", address.display())]
    #[non_exhaustive]
    BadPort {
        /// What was given.
        address: PathBuf,
        /// The port in it.
        port: String,
        /// What to write in its place, in words.
        instead: String,
    },
    /// A descriptor that is no number from 0 to 2147483647, or has a sign or zeros in front.
    #[error("the descriptor {descriptor:?} of the address {} is no number from 0 to 2147483647, without a sign and zeros in front: write {instead}", address.display())]
    #[non_exhaustive]
    BadDescriptor {
        /// What was given.
        address: PathBuf,
        /// The descriptor in it.
        descriptor: String,
        /// What to write in its place, in words.
        instead: String,
    },
    /// A relative path in a working directory that cannot be found out.
    #[error("the socket's path {} is relative and the working directory is unknown: give an absolute path", path.display())]
    #[non_exhaustive]
    WorkingDirectory {
        /// What was given.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}
