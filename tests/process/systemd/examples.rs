//! The units of examples/systemd, with the programs that they are for.

#[cfg(any(feature = "cli", all(feature = "calls", feature = "serde")))]
use std::path::Path;

use super::machine::Machine;

const INSTALL: &str = "install /box/bin/* /usr/local/bin/\ngroupadd --system telemetry\n";

#[test]
fn the_first_message_starts_the_collector_and_arrives() {
    let machine = Machine::new("none");
    machine.install_example("collector");
    machine.install_example("emitter");
    machine.example_units(&["collector.socket", "collector.service", "emitter.service"]);
    machine.run(&format!(
        r#"
        {INSTALL}
        systemctl start collector.socket
        must [ "$(stat --format='%a %U %G' /run/collector/telemetry.sock)" = "660 root telemetry" ]
        must is collector.service ActiveState inactive
        systemctl start emitter.service
        wait_for is collector.service ActiveState active
        arrived() {{ journalctl --unit=collector.service | grep --quiet --fixed-strings 'emitter.requests.9:1|c'; }}
        wait_for arrived
        counted() {{ systemctl show --property=StatusText collector.service | grep --quiet ' received, '; }}
        wait_for counted
        # It has let in whom the socket's mode lets in, and its own user is another.
        must [ "$(ps -o user= -p "$(systemctl show --property=MainPID --value emitter.service)")" = emitter ]
        # Others may not connect.
        if setpriv --reuid=nobody --regid=nogroup --clear-groups \
            python3 -c 'import socket; socket.socket(socket.AF_UNIX).connect("/run/collector/telemetry.sock")' 2>/dev/null; then
            echo "anybody can connect"; exit 1
        fi
        systemctl stop emitter.service collector.service
        must is collector.service Result success
        must [ -S /run/collector/telemetry.sock ]
        systemctl stop collector.socket
        must [ ! -e /run/collector/telemetry.sock ]
        "#
    ));
}

#[test]
#[cfg(all(feature = "calls", feature = "serde"))]
fn the_collector_with_an_admin_socket_has_both_from_their_units() {
    let machine = Machine::new("none");
    machine.install_example("admin");
    machine.install_example("emitter");
    for name in ["call.py", "calls.py", "wire.py"] {
        let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/clients/python");
        machine.install(name, &client.join(name));
    }
    machine.example_units(&[
        "collector.socket",
        "collector-admin.socket",
        "collector-admin.conf",
        "collector.service",
        "emitter.service",
    ]);
    machine.run(&format!(
        r#"
        {INSTALL}
        cd /etc/systemd/system
        mkdir collector.service.d
        mv collector-admin.conf collector.service.d/admin.conf
        systemctl daemon-reload
        systemd-analyze verify collector-admin.socket 2>&1 | tee /run/said
        must [ ! -s /run/said ]
        systemctl start collector.socket collector-admin.socket
        must [ "$(stat --format='%a %U' /run/collector/admin.sock)" = "600 root" ]
        must is collector.service ActiveState inactive
        ask() {{ python3 -B /box/bin/call.py /run/collector/admin.sock 60 <<<"$1"; }}
        # A call starts it, as a message would.
        must [ "$(ask 'log-level debug')" = "1 = info" ]
        must is collector.service ActiveState active
        systemctl start emitter.service
        has() {{ ask "$1" | grep --quiet --fixed-strings -- "$2"; }}
        wait_for has connections 'connection 1 (uid '
        none() {{ has figures '"received":{{"messages":0,'; }}
        counted() {{ ! none; }}
        wait_for counted
        printed() {{ journalctl --unit=collector.service | grep --quiet --fixed-strings 'admin: connection 1 ('; }}
        wait_for printed
        # The user of the emitter may not.
        if setpriv --reuid=nobody --regid=nogroup --clear-groups \
            python3 -c 'import socket; socket.socket(socket.AF_UNIX).connect("/run/collector/admin.sock")' 2>/dev/null; then
            echo "anybody can connect"; exit 1
        fi
        systemctl stop emitter.service
        # What the emitter sent is handled, and told.
        must has drain ' received, 0 connections open, '
        wait_for is collector.service ActiveState inactive
        must is collector.service Result success
        # Both sockets stay, and a call starts it anew.
        must [ -S /run/collector/telemetry.sock ]
        must has figures '"received":{{"messages":0,'
        systemctl stop collector.service
        must is collector.service Result success
        systemctl stop collector.socket collector-admin.socket
        must [ ! -e /run/collector/admin.sock ]
        "#
    ));
}

#[test]
#[cfg(feature = "cli")]
fn the_first_message_starts_the_tool_and_arrives() {
    let machine = Machine::new("none");
    machine.install("uds-ipc", Path::new(env!("CARGO_BIN_EXE_uds-ipc")));
    machine.example_units(&["uds-ipc-listen.socket", "uds-ipc-listen.service"]);
    machine.run(&format!(
        r"
        {INSTALL}
        systemctl start uds-ipc-listen.socket
        echo 'a line' | uds-ipc send /run/uds-ipc/telemetry.sock
        arrived() {{ journalctl --unit=uds-ipc-listen.service | grep --quiet 'a line'; }}
        wait_for arrived
        must is uds-ipc-listen.service ActiveState active
        systemctl stop uds-ipc-listen.service
        must is uds-ipc-listen.service Result success
        "
    ));
}

#[test]
#[cfg(feature = "cli")]
fn the_units_are_valid_and_well_confined() {
    let units = [
        "collector.socket",
        "collector-admin.socket",
        "collector.service",
        "uds-ipc-listen.socket",
        "uds-ipc-listen.service",
        "emitter.service",
    ];
    let machine = Machine::new("none");
    machine.install("uds-ipc", Path::new(env!("CARGO_BIN_EXE_uds-ipc")));
    machine.install_example("collector");
    machine.install_example("emitter");
    machine.example_units(&units);
    let services: Vec<_> = units
        .iter()
        .filter(|unit| unit.ends_with(".service"))
        .copied()
        .collect();
    machine.run(&format!(
        r#"
        {INSTALL}
        cd /etc/systemd/system
        systemd-analyze verify {} 2>&1 | tee /run/said
        must [ ! -s /run/said ]
        # Of 100, where 100 is unconfined.
        for unit in {}; do systemd-analyze security --offline=true --threshold=10 --no-pager "$unit" >/run/said || (tail -n 1 /run/said; exit 1); done
        "#,
        units.join(" "),
        services.join(" "),
    ));
}

#[test]
fn a_collector_without_a_socket_unit_has_its_socket_in_its_runtime_directory() {
    let machine = Machine::new("none");
    machine.install_example("collector");
    machine.install_example("emitter");
    let unit = "[Service]\nType=notify\nExecStart=/box/bin/collector telemetry.sock\nRuntimeDirectory=x\n\
                StandardOutput=append:/box/place/out\n";
    machine.unit("x.service", unit);
    machine.run(
        r#"
        systemctl start x.service
        # It is ready, so that it is there.
        must [ "$(stat --format=%a /run/x/telemetry.sock)" = 600 ]
        /box/bin/emitter /run/x/telemetry.sock 100 1
        wait_for has_line /box/place/out 'emitter.requests.99:1|c'
        ln -s /run/x /run/seen
        systemctl stop x.service
        must is x.service Result success
        must [ ! -e /run/x/telemetry.sock ]
        "#,
    );
}

#[test]
fn an_emitter_that_is_there_before_the_collector_loses_nothing() {
    let machine = Machine::new("none");
    machine.install_example("collector");
    machine.install_example("emitter");
    machine.unit("x.socket", "[Socket]\nListenStream=/run/x.sock\n");
    machine.unit(
        "x.service",
        "[Service]\nType=notify\nExecStart=/box/bin/collector /run/x.sock\nStandardOutput=append:/box/place/out\nStandardError=journal\n",
    );
    machine.run(
        r#"
        /box/bin/emitter /run/x.sock 1000 3 >/box/place/emitted 2>/box/place/events & emitter=$!
        wait_for has_line /box/place/events 'no connection to /run/x.sock'
        systemctl start x.socket
        wait $emitter
        must has_line /box/place/emitted 'accepted 3000'
        must has_line /box/place/emitted 'sent 3000'
        must has_line /box/place/emitted 'left 0'
        systemctl stop x.service
        must [ "$(wc --lines </box/place/out)" = 3000 ]
        "#,
    );
}
