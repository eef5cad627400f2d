//! Where a socket lies, and who may connect.
//!
//! # The file
//!
//! A socket's file has mode 0600 unless set, before anybody can connect: only the reader's own
//! user, and root, can send. To let a group in:
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
//! Binding replaces a stale socket, one on which nobody accepts (a dead datagram socket looks just
//! like it). It refuses one on which somebody does, and whatever is no socket, and touches neither.
//! Of several readers that start at once exactly one wins: they take turns by a lock file beside
//! the socket, which is gone when they have started.
//!
//! Their looks are connections that end at once: a reader that has not started yet meets them when
//! it does, as peers that send nothing.
//!
//! # The directory
//!
//! Who may rename in the directory can put a socket of his own in the place of yours, and be sent
//! what is yours.
//!
//! | the directory may be written to by | |
//! | --- | --- |
//! | all, without the sticky bit | refused |
//! | all, with the sticky bit, like `/tmp` | allowed: nobody else can replace the socket, but anybody can take its name first, and then binding fails |
//! | its group, or an owner that is somebody else | allowed: to give that right is to trust them with the socket. They cannot make a reader of root's touch anything but a socket there |
//! | its owner, who binds | allowed, and best: [`create_socket_dir`](crate::create_socket_dir) makes one with mode 0750, and refuses one of another user |
//!
//! The directories above it are not looked at: keep those as safe.
//!
//! On stop the reader removes the file that it made, if it is still that one. When it is removed or
//! replaced under a running reader, or a directory above it is renamed, Linux tells, and so does
//! [`Displaced`](crate::event::ReaderEvent::Displaced). A file system that is mounted over it is
//! not noticed. In a directory that was renamed the file stays behind.
//!
//! # Who it is
//!
//! The kernel knows who connected: [`Peer`](crate::Peer) has the user, the group and on Linux the
//! process. A [`peer_check`](crate::ReaderBuilder::peer_check) turns peers away before a byte of
//! theirs is read:
//!
//! ```
//! use uds_ipc::Reader;
//!
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("telemetry.sock");
//! let bound = Reader::builder(&path)
//!     .socket_mode(0o666)
//!     .peer_check(|peer| [0, 1000].contains(&peer.credentials.uid))
//!     .bind()?;
//! # drop(bound);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Where others may connect, one user may have half of the connections unless set, so that nobody
//! shuts the others out.
//!
//! A writer can ask the same of the reader:
//! [`expect_peer_uid`](crate::WriterBuilder::expect_peer_uid) is checked before the first byte.
//!
//! # Abstract names
//!
//! On Linux `@name` is a name without a file. It has no permissions: anybody in the same network
//! namespace can connect to it, or take it first. Use a peer check with it, and `expect_peer_uid`
//! on the other side; better, use a path.
