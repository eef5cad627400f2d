//! A machine of its own for each test, with a real systemd and the units of the test: see `boot`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// Set to `must` where a test that cannot boot is to fail.
const MUST: &str = "UDS_IPC_SYSTEMD";

/// How `boot` says that it cannot.
const CANNOT: i32 = 77;

/// What every script may use. What a failed one leaves behind in the journal is shown.
const PRELUDE: &str = r#"
at_end() {
    status=$?
    if [ $status != 0 ]; then journalctl --sync; systemctl --no-pager status "x*" "u*" "c*" "e*" || true; journalctl --no-pager --lines=60 --unit="[cuex]*"; fi
}
trap at_end EXIT
# Waits until a command succeeds.
wait_for() {
    for _ in $(seq 600); do
        if "$@"; then return 0; fi
        sleep 0.1
    done
    echo "waited in vain: $*"
    tail --lines=20 /box/place/*
    return 1
}
# Whether a property of a unit has a value.
is() { [ "$(systemctl show --property="$2" --value "$1")" = "$3" ]; }
must() { "$@" || { echo "not so: $*"; exit 1; }; }
has_line() { grep --quiet --fixed-strings -- "$2" "$1"; }
role() { UDS_IPC_PLACE=/box/place UDS_IPC_PART="$1" /box/bin/roles --exact "$TEST" --nocapture --test-threads=1; }
"#;

pub(super) struct Machine {
    folder: TempDir,
    /// The test that it is for, whose roles the units play.
    test: &'static str,
}

impl Machine {
    pub(super) fn new(test: &'static str) -> Self {
        let machine = Self {
            folder: TempDir::with_prefix("uds").unwrap(),
            test,
        };
        for name in ["units", "bin", "place"] {
            fs::create_dir(machine.folder.path().join(name)).unwrap();
        }
        machine.install("roles", &env::current_exe().unwrap());
        machine
    }

    /// The folder that is /box/place there.
    pub(super) fn place(&self) -> PathBuf {
        self.folder.path().join("place")
    }

    /// Makes a program /box/bin/NAME.
    pub(super) fn install(&self, name: &str, program: &Path) {
        let to = self.folder.path().join("bin").join(name);
        // A program is large: it is copied only where it must be.
        fs::hard_link(program, &to)
            .or_else(|_| fs::copy(program, &to).map(drop))
            .unwrap();
    }

    /// Likewise one of the examples, which `cargo test` builds.
    pub(super) fn install_example(&self, name: &str) {
        let test = env::current_exe().unwrap();
        let profile = test.parent().and_then(Path::parent).unwrap();
        self.install(name, &profile.join("examples").join(name));
    }

    pub(super) fn unit(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join("units").join(name), text).unwrap();
    }

    /// Installs units of examples/systemd.
    pub(super) fn example_units(&self, names: &[&str]) {
        for name in names {
            let unit = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("examples/systemd")
                .join(name);
            self.unit(name, &fs::read_to_string(unit).unwrap());
        }
    }

    /// A service that plays a role of the test, and is as long in the state `activating` as it has
    /// not said that it is ready.
    pub(super) fn role(&self, name: &str, part: &str, more: &str) {
        let test = self.test;
        self.unit(
            name,
            &format!(
                "[Service]\nType=notify\nEnvironment=UDS_IPC_PLACE=/box/place UDS_IPC_PART={part}\n\
                 ExecStart=/box/bin/roles --exact {test} --nocapture --test-threads=1\n{more}\n"
            ),
        );
    }

    /// Boots, runs the script, and fails if that does. False, said aloud, where no machine can be
    /// booted.
    #[track_caller]
    #[expect(clippy::print_stderr, reason = "a test that skips itself says so")]
    pub(super) fn run(&self, script: &str) -> bool {
        let script = format!(
            "TEST={}\n{PRELUDE}\n{script}\necho the end is reached\n",
            self.test
        );
        fs::write(self.folder.path().join("script"), script).unwrap();
        let boot = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/process/systemd/boot");
        let output = Command::new(boot)
            .arg(self.folder.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        if output.status.code() == Some(CANNOT)
            && env::var_os(MUST).is_none_or(|must| must != "must")
        {
            eprintln!("skipped: {said}");
            return false;
        }
        assert!(
            output.status.success() && said.contains("the end is reached"),
            "{}: {said}",
            output.status
        );
        true
    }
}
