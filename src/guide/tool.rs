//! The command-line tool `uds-ipc`: to listen, to send, to record, to see who sends most, to call
//! and to answer, and to check.
//!
//! ```console
//! $ cargo install --path . --features cli
//! $ # Print what comes.
//! $ uds-ipc listen /tmp/telemetry.sock --format json
//! $ # Each line a message; waits for room instead of dropping.
//! $ uds-ipc send /tmp/telemetry.sock < /var/log/syslog
//! $ # Each line confirmed, and sent again until it is.
//! $ uds-ipc send /tmp/telemetry.sock --at-least-once < audit.log
//! $ # What was taken arrives though the tool is killed.
//! $ tail -F app.log | uds-ipc send /tmp/telemetry.sock --crash-proof
//! $ # Over TCP; send to the same address.
//! $ uds-ipc listen tcp:127.0.0.1:7000
//! $ # What another machine says, through a pipe.
//! $ ssh HOST 'tail -F app.log | uds-ipc send -' | uds-ipc listen -
//! ```
//!
//! Both print their figures as a line of JSON when they end. `uds-ipc help listen` and `uds-ipc
//! help send` list the options. The man pages, and completions for bash, zsh and fish:
//!
//! ```console
//! $ sudo uds-ipc install-docs /usr/local   # or without sudo: uds-ipc install-docs ~/.local
//! ```
//!
//! # Recording
//!
//! Record a stream, and send it again, message for message:
//!
//! ```console
//! $ uds-ipc listen /run/a.sock --format frames --for 1m > messages.bin
//! $ uds-ipc send /run/b.sock --frames --file messages.bin --rate 1000
//! ```
//!
//! # Who sends most
//!
//! `top` listens in the collector's place, and shows a row for each connection.
//!
//! ```console
//! $ uds-ipc top /run/a.sock                              # on a terminal; q ends it
//! $ uds-ipc top /run/a.sock --for 10 --sort total        # a table, of ten seconds
//! ```
//!
//! # Calls
//!
//! `call` asks a daemon that [answers calls](super::calls), and prints the answer. `respond`
//! answers with what a command prints: it gets the call's body on standard input, and the method
//! and the caller's user in the variables `UDS_IPC_METHOD`, `UDS_IPC_UID`, `UDS_IPC_GID` and
//! `UDS_IPC_PID`. When nobody waits any more, the command is killed with its process group.
//!
//! ```console
//! $ uds-ipc call /run/collector/admin.sock version
//! $ uds-ipc call /run/collector/admin.sock log-level debug --notify
//! $ uds-ipc call /run/collector/admin.sock dump --raw --timeout 5m > dump.bin
//! $ uds-ipc respond /run/a.sock --mode 660 --group admin --allow-anyone --exec uptime
//! ```
//!
//! | exit code of `call` | what it says | may the call have been done |
//! | --- | --- | --- |
//! | 0 | answered, or with `--notify` sent | it was; a notification may have been |
//! | 1 | the call failed, in the words of who answers; or the answer could not be printed | yes |
//! | 2 | wrong usage, or the call is too long | no |
//! | 3 | nobody took the call within `--timeout` | no |
//! | 4 | refused: not allowed, busy, or stopping | no |
//! | 5 | no answer within `--timeout` | yes |
//! | 6 | the connection was lost, or the call ended without an answer | yes |
//!
//! # A health check
//!
//! `check` sees whether somebody accepts and reads, and who. Each fault has an exit code of its
//! own.
//!
//! ```text
//! in a shell           uds-ipc check /run/a.sock --quiet || systemctl restart collector
//! in a systemd unit    ExecStartPost=/usr/local/bin/uds-ipc check /run/a.sock --wait 10
//! in a container file  HEALTHCHECK CMD uds-ipc check /run/a.sock --quiet || exit 1
//! ```
//!
//! # Measuring
//!
//! `bench` measures on your machine: [the page on speed](super::speed#measuring) says what.
