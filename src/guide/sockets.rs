//! Where a socket lies, and who may connect.
//!
//! # The file
//!
//! A socket's file has mode 0600 unless set: only the reader's own user and root can send. It has
//! its mode before any peer can connect. To let a group in:
//!
//! ```
//! use uds_ipc::Reader;
//!
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("telemetry.sock");
//! # let group = std::os::unix::fs::MetadataExt::gid(&std::fs::metadata(&directory)?);
//! let bound = Reader::builder(&path).socket_mode(0o660).socket_group(group).bind()?;
//! # drop(bound);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Binding replaces a stale socket, on which no process listens. (A dead datagram socket looks just
//! like it.) A socket on which a process listens is an error, and so is a file that is no socket;
//! both are left as they are. Of several readers that start at once exactly one succeeds: a lock
//! file beside the socket lets one bind after the other, and is removed when they have started.
//!
//! To find out whether a process listens, binding connects and disconnects. A reader that was bound
//! and not started sees that when it starts, as a peer that sends nothing.
//!
//! # The directory
//!
//! A user that may rename files in the socket's directory can put another socket in the place of
//! yours, and then gets your messages.
//!
//! | the directory may be written to by | |
//! | --- | --- |
//! | all, without the sticky bit | refused |
//! | all, with the sticky bit, like `/tmp` | allowed: no other user can replace the socket. But any user can take its name first, and then binding fails |
//! | its group, or an owner that is another user | allowed: to give that right is to trust them with the socket. They cannot make a reader of root's touch anything but a socket there |
//! | its owner, the user that binds | allowed, and best: [`create_socket_dir`](crate::create_socket_dir) makes one with mode 0750, and refuses one of another user |
//!
//! The directories above it are not checked: keep those as safe.
//!
//! On stop the reader removes the file that it made, unless another is in its place. When the file
//! is removed or replaced while the reader runs, or a directory above it is renamed, the event is
//! [`Displaced`](crate::event::ReaderEvent::Displaced): at once on Linux, within five seconds
//! elsewhere and where no `inotify(7)` instance is left. A file system that is mounted over it is
//! not noticed. In a directory that was renamed the file stays behind.
//!
//! # Peer credentials
//!
//! The kernel knows which process connected: [`Peer`](crate::Peer) has its user, its group and on
//! Linux its process id. A [`peer_check`](crate::ReaderBuilder::peer_check) refuses peers before a
//! byte of theirs is read:
//!
//! ```
//! use uds_ipc::Reader;
//!
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("telemetry.sock");
//! let bound = Reader::builder(&path)
//!     .socket_mode(0o666)
//!     .peer_check(|peer| [Some(0), Some(1000)].contains(&peer.identity.uid()))
//!     .bind()?;
//! # drop(bound);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Where other users may connect, one user may have half of the connections unless set, so that
//! none can shut the others out.
//!
//! A writer can check the reader's user in the same way:
//! [`expect_peer_uid`](crate::WriterBuilder::expect_peer_uid) is compared before the first byte.
//!
//! # Abstract names
//!
//! On Linux `@name` is a name without a file. It has no permissions: every process in the same
//! network namespace can connect to it, or take it first. Use a path. Where that is not possible
//! use `peer_check` at one end and `expect_peer_uid` at the other.
