//! A collector as a service of systemd: how to set it up, and what to do when it does not run.
//!
//! # Five minutes
//!
//! systemd makes the socket, holds it from boot on, and starts the collector when the first message
//! comes. While the collector restarts, writers connect to the socket and wait: none is refused,
//! and no unit has to start before another.
//!
//! The collector is the example of that name. Its units are in `examples/systemd`. In the crate's
//! folder:
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
//! Now the socket is there, and the collector does not run. Send something, and systemd starts it:
//!
//! ```console
//! # systemctl is-active collector.service
//! inactive
//! # systemctl start emitter.service
//! # systemctl status collector.service
//!      Active: active (running)
//!      Status: "/run/collector/telemetry.sock: 52 messages (1186 bytes) received, […]"
//! # journalctl --unit=collector.service --follow
//! ```
//!
//! The status follows every five seconds, so wait that long. Restart the collector as often as you
//! like: `systemctl restart collector.service`. The emitter goes on, and each number arrives once.
//!
//! * To let a person send: `usermod --append --groups telemetry NAME`, and a new login.
//! * To undo all of it: `systemctl disable --now` with the units, and remove the files that were
//!   copied.
//!
//! The journal shows messages as they come, but does not keep all of them: it throws lines away
//! when there are many (10,000 in 30 s, unless `LogRateLimitIntervalSec=0`), and cuts those above
//! 48 KiB. By then the reader has confirmed them, because standard output took them. To keep
//! messages, write them to a file, in your handler or by `StandardOutput=append:…`.
//!
//! To run the command-line tool instead of a program of your own: `cargo build --release --features
//! cli`, install `target/release/uds-ipc`, and use the units `uds-ipc-listen.*`.
//!
//! # The units, in short
//!
//! ```ini
//! # collector.socket
//! [Socket]
//! ListenStream=/run/collector/telemetry.sock
//! SocketMode=0660
//! SocketGroup=telemetry
//! [Install]
//! WantedBy=sockets.target
//! ```
//!
//! ```ini
//! # collector.service
//! [Unit]
//! Requires=collector.socket
//! After=collector.socket
//! # Without this systemd gives up after five starts in ten seconds, and stops the socket too.
//! StartLimitIntervalSec=0
//! [Service]
//! Type=notify
//! ExecStart=/usr/local/bin/collector /run/collector/telemetry.sock
//! Restart=on-failure
//! RestartSec=1s
//! WatchdogSec=30s
//! ```
//!
//! Those of `examples/systemd` confine the service too.
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
//! // Takes the socket of the socket unit. Without a unit, as in a test, it makes one at the path.
//! let reader = Reader::builder(&path).bind()?.start(|message| {
//!     println!("{}", String::from_utf8_lossy(message));
//! })?;
//! // Sends `READY=1`, and from now on `STATUS=` and `WATCHDOG=1`.
//! let service = Service::start([reader]);
//!
//! // ... until SIGTERM, which the program catches itself, from before it binds, as
//! // `examples/collector.rs` does ...
//!
//! // Sends `STOPPING=1`; then all that was sent is handled. The timeout is below
//! // `TimeoutStopSec=`: if a handler hangs, this still returns its report.
//! service.shutdown(Duration::from_secs(8))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! * **Bind early**, before threads are started that run C code: binding takes systemd's variables
//!   out of the environment, and C code may read it at any time.
//! * **Several sockets**:
//!   * each socket unit has a `FileDescriptorName=`, and names the service in `Service=`;
//!   * the service names all socket units in `Requires=` and `After=`, or it may start with some of
//!     them only;
//!   * the program has a reader for each, with
//!     [`Activation::Named`](crate::systemd::Activation::Named), and one
//!     [`Service`](crate::systemd::Service) for all. For sockets of other kinds there is
//!     [`take_socket`](crate::systemd::take_socket).
//! * **Without a socket unit**: `RuntimeDirectory=collector` in the service, and
//!   `Reader::builder("telemetry.sock")`: a bare file name goes into that directory. Only its own
//!   user can connect unless [`socket_mode`](crate::ReaderBuilder::socket_mode) and
//!   [`socket_group`](crate::ReaderBuilder::socket_group) say otherwise. While the collector
//!   restarts writers find no socket, and keep their messages. Never use both: at each stop systemd
//!   removes the runtime directory, and a socket unit's file in it as well.
//! * **Reloading**: call [`Service::reload`](crate::systemd::Service::reload) on SIGHUP, with
//!   `ExecReload=kill -HUP $MAINPID`, for which `systemctl reload` does not wait, or with
//!   `Type=notify-reload` (systemd 253), for which it does.
//! * **Several processes of one service**: each has its own sockets. Only the main process may
//!   notify systemd, unless `NotifyAccess=` says otherwise; the watchdog watches that process.
//! * **Queues that outlive a restart**: with [`crash_proof`](super::crash_proof) writers, set
//!   [`descriptor_store`](crate::ReaderBuilder::descriptor_store) and `FileDescriptorStoreMax=` in
//!   the collector, and [likewise](crate::WriterBuilder::descriptor_store) in a writer's service
//!   that systemd restarts: see [there](super::crash_proof#over-a-restart-of-a-service).
//! * **A writer** connects when the socket is there. It must catch SIGTERM and call `shutdown`, as
//!   `examples/emitter.rs` does, or what is queued is lost.
//!
//! # What systemd decides then
//!
//! | setting | in place of | meaning |
//! | --- | --- | --- |
//! | `ListenStream=` | the reader's address | a path or `@name` |
//! | `SocketMode=`, `SocketUser=`, `SocketGroup=` | `socket_mode`, `socket_owner`, `socket_group` | systemd's default mode is 0666: every user may connect |
//! | `Backlog=` | | how many connections may wait to be accepted |
//! | `Accept=no` | | the default: the service gets the listening socket, not each connection |
//! | `RemoveOnStop=` | | whether systemd removes the file when the socket unit stops; the reader leaves it alone |
//! | `WatchdogSec=` | | how long all workers may hang in the handler before the service is restarted. Under a low load there is one worker, and one slow message is enough. A worker that hangs while others work is not noticed |
//! | `TimeoutStopSec=` | | how long a stop may take without progress, some 8 s at least: while messages are handled, the service asks systemd for more time |
//! | `FileDescriptorStoreMax=` | | how many queues systemd keeps over a restart, with `descriptor_store`: in a collector one for each crash-proof writer, in a writer's service one for each writer. 0 unless set: none |
//! | `FileDescriptorStorePreserve=` | | whether it keeps them when the service is stopped, and not restarted (systemd 254) |
//! | `NotifyAccess=` | | who may have something stored: the main process, where `FileDescriptorStoreMax=` is set; `all` where the writers are its children |
//! | `LimitNOFILE=` | | set it above `max_connections`, or accepting pauses at this limit |
//! | `MemoryMax=` | | set it above `max_partial_bytes` |
//! | `PrivateUsers=` | | not for a collector that checks peer credentials: all peers would be user 65534 |
//!
//! # When it does not work
//!
//! The first column has the texts of errors. A `main` that returns its error prints it as code
//! instead, such as `NotAListener { … }`: print the error and its sources, as
//! `examples/collector.rs` does.
//!
//! | what you see | why | what to do |
//! | --- | --- | --- |
//! | `descriptor 3 (…) is a datagram socket`, or of packets, of the network | the socket unit makes another kind | `ListenStream=` with a path or `@name`; with an address and a port where the reader's address is `tcp:…` |
//! | `descriptor 3 (connection) is a connection`; or the socket unit fails with `resources` | `Accept=yes` | `Accept=no`, and a service without `@` in its name |
//! | `no socket named … was passed` | the names differ | `FileDescriptorName=` as in the program; it is the unit's name unless set |
//! | `the address … is in use` in the service, or it makes a socket of its own beside systemd's | the variables name another process: a wrapper started this one (a shell without `exec`, a supervisor) | `ExecStart=` the program itself, or `exec` it |
//! | `the address … is in use` when you start it by hand | systemd holds the socket; the check whether a process listens has started the service | stop the socket unit, or take another path |
//! | `cannot open the lock file …: read-only file system`, or a socket in `/` | no socket was passed, and the address has no directory: the service was started without its socket units | `Requires=` and `After=` them |
//! | the service hangs in `activating` | `Type=notify`, and `READY=1` does not come | [`Service::start`](crate::systemd::Service::start) after the reader; a child process that notifies needs `NotifyAccess=all` |
//! | the event [`NotifyFailed`](crate::event::ReaderEvent::NotifyFailed) | `NOTIFY_SOCKET` cannot be reached, for instance from a `RootDirectory=` | `BindReadOnlyPaths=/run/systemd/notify`; or `Type=exec` and no `WatchdogSec=`, which need no notification |
//! | `Watchdog timeout`, then a restart | all workers were in the handler for `WatchdogSec=` | find out what it waits for: with systemd-coredump installed, `coredumpctl` has the stacks; or set a longer `WatchdogSec=` |
//! | writers say `permission denied` | their user may not write to the socket | `SocketGroup=` in the socket unit, `SupplementaryGroups=` in theirs |
//! | writers connect, and lose the connection again and again | a [`peer_check`](crate::ReaderBuilder::peer_check) refuses them: the collector's event [`Refused`](crate::event::ReaderEvent::Refused) has their user | with `DynamicUser=yes` the user is another one at each start: give services that are checked a `User=` |
//! | the socket unit fails with `service-start-limit-hit` | the service fails each time it is started, and systemd has taken the socket away | `journalctl --unit=…`, fix it, `systemctl reset-failed`, and start the socket unit again; `StartLimitIntervalSec=0` in the service prevents it |
//!
//! All of this runs as tests inside a real systemd: `tests/process/systemd`.
