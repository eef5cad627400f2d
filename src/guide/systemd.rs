//! A service of systemd: from nothing to a running collector, and what to do when it does not run.
//!
//! # Five minutes
//!
//! systemd makes the socket, holds it from boot on, and starts the collector when the first message comes. While the collector restarts,
//! writers connect all the same and wait: nothing is refused, and nobody has to be started in order.
//!
//! The collector is the example of that name, and its units are in `examples/systemd`. In the crate's folder:
//!
//! ```console
//! $ cargo build --release --examples
//! # install target/release/examples/collector target/release/examples/emitter /usr/local/bin
//! # groupadd --system telemetry
//! # cp examples/systemd/collector.* examples/systemd/emitter.service /etc/systemd/system
//! # systemctl daemon-reload
//! # systemctl enable --now collector.socket
//! ```
//!
//! Now the socket is there, and the collector is not. Send something, and it is:
//!
//! ```console
//! # systemctl is-active collector.service
//! inactive
//! # systemctl start emitter.service
//! # systemctl status collector.service
//!      Active: active (running)
//!      Status: "/run/collector/telemetry.sock: 52 messages (1186 bytes) received, 1 connections open"
//! # journalctl --unit=collector.service --follow
//! ```
//!
//! Restart it as often as you like: `systemctl restart collector.service`. The emitter goes on, and each number arrives once.
//!
//! With the command-line tool in the place of a program of your own: `cargo install --path . --features cli --root /usr/local`, and the units `uds-ipc-listen.*`.
//!
//! # In your program
//!
//! ```
//! use std::time::Duration;
//! use uds_ipc::Reader;
//! use uds_ipc::systemd::Service;
//!
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("telemetry.sock");
//! // Takes the socket of the socket unit; where there is none, for instance in a test, makes one at the path.
//! let reader = Reader::builder(&path).bind()?.start(|message| {
//!     println!("{}", String::from_utf8_lossy(message));
//!     Ok::<(), std::io::Error>(())
//! })?;
//! // `READY=1`, and from now on figures and signs of life.
//! let service = Service::start([reader]);
//!
//! // ... until SIGTERM ...
//!
//! // `STOPPING=1`; then all that was sent is handled.
//! service.shutdown(Duration::from_secs(20))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! * **Bind early**, before threads are started that run C code: systemd's variables are taken out of the environment by it.
//! * **Several sockets**: give each socket unit a `FileDescriptorName=` and name the service in `Service=`; then a reader for each, with
//!   [`Activation::Named`](crate::systemd::Activation::Named), and one [`Service`](crate::systemd::Service) for all. Sockets of other kinds are to be had by
//!   [`take_socket`](crate::systemd::take_socket).
//! * **Without a socket unit**: `RuntimeDirectory=collector` in the service, and `Reader::builder("telemetry.sock")`: a bare file name goes into that directory.
//!   Writers then meet a refusal while the collector restarts, and keep their messages meanwhile.
//! * **Reloading**: wrap what SIGHUP does in [`Service::reload`](crate::systemd::Service::reload), with `ExecReload=kill -HUP $MAINPID`, or `Type=notify-reload` (systemd 253).
//! * **Several processes of one service** each have their own sockets and notifications: only the main process may notify, unless `NotifyAccess=` says otherwise, and
//!   the watchdog is for that one.
//! * **A writer** needs nothing of this: it connects when the socket is there.
//!
//! # What systemd decides then
//!
//! | setting | in place of | |
//! | --- | --- | --- |
//! | `ListenStream=` | the reader's address | a path or `@name` |
//! | `SocketMode=`, `SocketUser=`, `SocketGroup=` | `socket_mode`, `socket_owner`, `socket_group` | systemd's default mode is 0666: everybody |
//! | `Backlog=` | | how many may wait to be accepted |
//! | `Accept=no` | | the default: the service gets the listening socket, not each connection |
//! | `RemoveOnStop=` | | whether the file goes with the socket unit; the reader leaves it alone |
//! | `WatchdogSec=` | | how long all threads may hang in the handler before the service is restarted |
//! | `TimeoutStopSec=` | | how long a stop may take that makes no progress: while messages are handled, the reader asks for more |
//! | `LimitNOFILE=` | | above `max_connections`, or accepting pauses there |
//! | `MemoryMax=` | | above `max_held_size` |
//! | `PrivateUsers=` | | not for a collector that looks at who its peers are: they would all be user 65534 |
//!
//! # When it does not work
//!
//! | what you see | why | what to do |
//! | --- | --- | --- |
//! | `descriptor 3 (…) is a datagram socket`, or of packets, of the network | the socket unit makes another kind | `ListenStream=` with a path or `@name` |
//! | `descriptor 3 (connection) is a connection` | `Accept=yes` | `Accept=no`, and a service without `@` in its name |
//! | `no socket named … was passed` | the names do not fit | `FileDescriptorName=` as in the program; it is the unit's name unless set |
//! | the program makes a socket of its own beside systemd's | the variables were not for it: a wrapper (a shell without `exec`, a supervisor) stands between | `ExecStart=` the program itself, or `exec` it |
//! | `the address … is in use` when you start it by hand | systemd holds the socket | stop the socket unit, or take another path |
//! | the service hangs in `activating` | `Type=notify`, and `READY=1` does not come | [`Service::start`](crate::systemd::Service::start) after the reader; a child process that notifies needs `NotifyAccess=all` |
//! | the event [`NotifyFailed`](crate::ReaderEvent::NotifyFailed) | `NOTIFY_SOCKET` cannot be reached, for instance from a `RootDirectory=` | `BindReadOnlyPaths=/run/systemd/notify`; or `Type=exec`, which wants no word |
//! | `Watchdog timeout`, then a restart | all threads were in the handler for `WatchdogSec=` | find out what it waits for: `coredumpctl` has the stacks; or a longer `WatchdogSec=` |
//! | writers say `permission denied` | they may not write to the socket | `SocketGroup=` and `SupplementaryGroups=` |
//! | the socket unit fails with `service-start-limit-hit` | the service fails each time it is started | `journalctl --unit=…`, mend it, `systemctl reset-failed` |
//!
//! All of this runs as tests inside a real systemd: `tests/process/systemd`.
