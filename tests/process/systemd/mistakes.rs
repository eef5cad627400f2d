//! Units that are wrong: the service says what to change.

use std::fmt::Write;

use uds_ipc::Reader;

use super::machine::Machine;
use crate::stage::stage;

#[test]
#[expect(
    clippy::print_stderr,
    reason = "the service's log is its standard error"
)]
fn a_socket_of_another_kind_is_an_error_that_names_the_setting_to_change() {
    const NAME: &str =
        "systemd::mistakes::a_socket_of_another_kind_is_an_error_that_names_the_setting_to_change";
    if stage().is_some() {
        let mut error: Option<&dyn std::error::Error> = None;
        let bound = Reader::builder("/run/own.sock").bind();
        let failed = bound.expect_err("there is no good socket");
        error.replace(&failed);
        while let Some(cause) = error {
            eprintln!("{cause}");
            error = cause.source();
        }
        return;
    }
    let machine = Machine::new(NAME);
    let mut script = String::new();
    for (name, listen, advice) in [
        (
            "xdatagram",
            "ListenDatagram=/run/a",
            "needs ListenStream= in the place of ListenDatagram=",
        ),
        (
            "xpackets",
            "ListenSequentialPacket=/run/b",
            "needs ListenStream= in the place of ListenSequentialPacket=",
        ),
        (
            "xnetwork",
            "ListenStream=127.0.0.1:4711",
            "needs a path or @name, not an address or a port",
        ),
        (
            "xpipe",
            "ListenFIFO=/run/c",
            "a named pipe: it must come from ListenStream=",
        ),
        (
            "xaccepted",
            "ListenStream=/run/d\nAccept=yes",
            "needs Accept=no in the place of Accept=yes",
        ),
    ] {
        let is_accepted = listen.contains("Accept");
        let output = format!("StandardError=append:/run/{name}.log");
        machine.unit(&format!("{name}.socket"), &format!("[Socket]\n{listen}\n"));
        machine.role(
            &format!("{name}{}.service", if is_accepted { "@" } else { "" }),
            name,
            &output,
        );
        let start = if is_accepted {
            "python3 -c 'import socket; socket.socket(socket.AF_UNIX).connect(\"/run/d\")'"
                .to_owned()
        } else {
            format!("systemctl start --no-block {name}.service")
        };
        write!(
            script,
            "systemctl start {name}.socket\n{start}\nwait_for [ -s /run/{name}.log ]\n\
             wait_for has_line /run/{name}.log 'descriptor 3 ('\nmust has_line /run/{name}.log '{advice}'\n"
        )
        .unwrap();
    }
    script += "must [ ! -e /run/own.sock ]\n";
    machine.run(&script);
}
