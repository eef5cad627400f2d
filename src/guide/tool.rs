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
//! When they end, both say in a line on standard error how much it was: `sent 3 messages, 18 B in
//! 0.02 s`, with what was dropped or failed, if anything was. `--figures json` says all figures
//! there, as a line of JSON, and `--figures none` nothing; so it is with `call` and `respond`.
//! `uds-ipc help listen` and `uds-ipc help send` list the options. The man pages, and completions
//! for bash, zsh and fish:
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
//! | 3 | nobody took the call: at once, or after `--wait` | no |
//! | 4 | refused: not allowed, busy, or stopping | no |
//! | 5 | no answer within `--timeout` | yes |
//! | 6 | the connection was lost, the call ended without an answer, or standard output was closed before one | yes |
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
//! | exit code of `check` | what it says |
//! | --- | --- |
//! | 0 | somebody accepts and reads |
//! | 1 | nobody listens: no socket, one that is left over, or what is there is no socket |
//! | 2 | wrong usage |
//! | 3 | not let in: by the file's permissions, or by the reader, which hangs up |
//! | 4 | no answer within `--timeout`: the backlog is full, or the reader hangs |
//! | 5 | something else: an answer that is no reader's, or a name that leads nowhere |
//!
//! Nagios and Icinga have four codes of their own. A plugin for them:
//!
//! ```sh
//! #!/bin/sh
//! # check_uds_ipc ADDRESS [OPTION]...: the options are those of `uds-ipc check`.
//! text=$(uds-ipc check "$@" 2>&1)
//! case $? in
//!   0) state=OK code=0 ;;
//!   3) state=WARNING code=1 ;;      # somebody is there, and does not let the plugin's user in
//!   1 | 4) state=CRITICAL code=2 ;; # nobody, or one who does not read
//!   *) state=UNKNOWN code=3 ;;      # wrong usage, something else, or there is no uds-ipc
//! esac
//! echo "$state - ${text#uds-ipc: }"
//! exit $code
//! ```
//!
//! # Measuring
//!
//! `bench` measures on your machine: [the page on speed](super::speed#measuring) says what.
