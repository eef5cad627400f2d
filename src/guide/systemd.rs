//! A service of systemd: from nothing to a running collector, and what to do when it does not run.
//!
//! # Five minutes
//!
//! systemd makes the socket, holds it from boot on, and starts the collector when the first message
//! comes. While the collector restarts, writers connect all the same and wait: nothing is refused,
//! and nobody has to be started in order.
//!
//! The collector is the example of that name, and its units are in `examples/systemd`. In the
//! crate's folder:
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
//!      Status: "/run/collector/telemetry.sock: 52 messages (1186 bytes) received, […]"
//! # journalctl --unit=collector.service --follow
//! ```
//!
//! The figures are told every five seconds, so wait that long. Restart it as often as you like:
//! `systemctl restart collector.service`. The emitter goes on, and each number arrives once. To let
//! a person send: `usermod --append --groups telemetry NAME`, and a new login. To undo all of it:
//! `systemctl disable --now` with the units, and remove what was copied.
//!
//! The journal is good to see messages go by, not to keep them: it throws lines away when there are
//! many (10,000 in 30 s, unless `LogRateLimitIntervalSec=0`), and cuts those above 48 KiB. What the
//! reader has confirmed by then is what standard output took. To keep messages, write them to a
//! file, in your handler or by `StandardOutput=append:…`.
//!
//! With the command-line tool in the place of a program of your own: `cargo build --release
//! --features cli`, install `target/release/uds-ipc`, and the units `uds-ipc-listen.*`.
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
//! # Without this systemd gives up after five starts in ten seconds, and takes the socket away as
//! # well.
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
//! // Takes the socket of the socket unit; where there is none, for instance in a test, makes one
//! // at the path.
//! let reader = Reader::builder(&path).bind()?.start(|message| {
//!     println!("{}", String::from_utf8_lossy(message));
//! })?;
//! // `READY=1`, and from now on figures and signs of life.
//! let service = Service::start([reader]);
//!
//! // ... until SIGTERM, which the program catches itself (before it binds, as
//! // `examples/collector.rs` does) ...
//!
//! // `STOPPING=1`; then all that was sent is handled. Less than `TimeoutStopSec=`, or a handler
//! // that hangs hides the report.
//! service.shutdown(Duration::from_secs(8))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! * **Bind early**, before threads are started that run C code: systemd's variables are taken out
//!   of the environment by it.
//! * **Several sockets**: give each socket unit a `FileDescriptorName=` and name the service in
//!   `Service=`; name all of them in the service's `Requires=` and `After=`, or it may be started
//!   with some of them only; then a reader for each, with
//!   [`Activation::Named`](crate::systemd::Activation::Named), and one
//!   [`Service`](crate::systemd::Service) for all. Sockets of other kinds are to be had by
//!   [`take_socket`](crate::systemd::take_socket).
//! * **Without a socket unit**: `RuntimeDirectory=collector` in the service, and
//!   `Reader::builder("telemetry.sock")`: a bare file name goes into that directory. Only its own
//!   user can connect unless [`socket_mode`](crate::ReaderBuilder::socket_mode) and
//!   [`socket_group`](crate::ReaderBuilder::socket_group) say otherwise. Writers find no socket
//!   while the collector restarts, and keep their messages meanwhile. Never both: at each stop
//!   systemd removes the runtime directory, and a socket unit's file in it as well.
//! * **Reloading**: wrap what SIGHUP does in [`Service::reload`](crate::systemd::Service::reload),
//!   with `ExecReload=kill -HUP $MAINPID`, for which `systemctl reload` does not wait, or
//!   `Type=notify-reload` (systemd 253), for which it does.
//! * **Several processes of one service** each have their own sockets and notifications: only the
//!   main process may notify, unless `NotifyAccess=` says otherwise, and the watchdog is for that
//!   one.
//! * **A writer** connects when the socket is there, and needs none of this but one: catch SIGTERM
//!   and call `shutdown`, as `examples/emitter.rs` does, or what is queued is lost.
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
//! | `WatchdogSec=` | | how long all threads that there are may hang in the handler before the service is restarted: with little to do that is one, and one slow message is enough; one that hangs beside others that work is not noticed |
//! | `TimeoutStopSec=` | | how long a stop may take that makes no progress, some 8 s at least: while messages are handled, the reader asks for more |
//! | `LimitNOFILE=` | | above `max_connections`, or accepting pauses there |
//! | `MemoryMax=` | | above `max_partial_bytes` |
//! | `PrivateUsers=` | | not for a collector that looks at who its peers are: they would all be user 65534 |
//!
//! # When it does not work
//!
//! These are the words of the errors. A `main` that returns its error prints it as code instead,
//! such as `NotAListener { … }`: print it, with its sources, as `examples/collector.rs` does.
//!
//! | what you see | why | what to do |
//! | --- | --- | --- |
//! | `descriptor 3 (…) is a datagram socket`, or of packets, of the network | the socket unit makes another kind | `ListenStream=` with a path or `@name` |
//! | `descriptor 3 (connection) is a connection`; or the socket unit fails with `resources` | `Accept=yes` | `Accept=no`, and a service without `@` in its name |
//! | `no socket named … was passed` | the names do not fit | `FileDescriptorName=` as in the program; it is the unit's name unless set |
//! | `the address … is in use` in the service, or it makes a socket of its own beside systemd's | the variables were not for it: a wrapper (a shell without `exec`, a supervisor) stands between | `ExecStart=` the program itself, or `exec` it |
//! | `the address … is in use` when you start it by hand | systemd holds the socket; the look whether somebody is there has started the service | stop the socket unit, or take another path |
//! | `cannot open the lock file …: read-only file system`, or a socket in `/` | no socket was passed, and the address has no directory: the service was started without its socket units | `Requires=` and `After=` them |
//! | the service hangs in `activating` | `Type=notify`, and `READY=1` does not come | [`Service::start`](crate::systemd::Service::start) after the reader; a child process that notifies needs `NotifyAccess=all` |
//! | the event [`NotifyFailed`](crate::event::ReaderEvent::NotifyFailed) | `NOTIFY_SOCKET` cannot be reached, for instance from a `RootDirectory=` | `BindReadOnlyPaths=/run/systemd/notify`; or `Type=exec` and no `WatchdogSec=`, which want no word |
//! | `Watchdog timeout`, then a restart | all threads were in the handler for `WatchdogSec=` | find out what it waits for: with systemd-coredump installed, `coredumpctl` has the stacks; or a longer `WatchdogSec=` |
//! | writers say `permission denied` | they may not write to the socket | `SocketGroup=` in the socket unit, `SupplementaryGroups=` in theirs |
//! | writers connect, and are hung up on again and again | a [`peer_check`](crate::ReaderBuilder::peer_check) refuses them: the collector's event [`Refused`](crate::event::ReaderEvent::Refused) has their user | with `DynamicUser=yes` that is another each time: give senders that are checked a `User=` |
//! | the socket unit fails with `service-start-limit-hit` | the service fails each time it is started, and systemd has taken the socket away | `journalctl --unit=…`, mend it, `systemctl reset-failed`, and start the socket unit again; `StartLimitIntervalSec=0` in the service prevents it |
//!
//! All of this runs as tests inside a real systemd: `tests/process/systemd`.
