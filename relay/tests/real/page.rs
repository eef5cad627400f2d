//! The commands of README.md, as a newcomer types them: each is run, and what it prints is compared.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use crate::support::free_port;
use crate::support::relay::PROGRAM;

/// A command, and what the page says that it prints.
struct Shown {
    command: String,
    output: String,
}

fn shown(page: &str) -> Vec<Shown> {
    let mut all: Vec<Shown> = Vec::new();
    let mut is_inside = false;
    for line in page.lines() {
        if line.starts_with("```") {
            is_inside = line == "```console";
        } else if is_inside && let Some(command) = line.strip_prefix("$ ") {
            all.push(Shown {
                command: command.to_owned(),
                output: String::new(),
            });
        } else if is_inside {
            let last = all.last_mut().unwrap();
            last.output.push_str(line);
            last.output.push('\n');
        }
    }
    all
}

/// The package's other program, which `cargo test` has built.
fn example(name: &str) -> String {
    let own = env::current_exe().unwrap();
    let folder = own
        .parent()
        .unwrap()
        .parent()
        .unwrap()
        .join("examples")
        .join(name);
    folder.to_str().unwrap().to_owned()
}

const MARK: &str = "-- the next command --";

#[test]
fn the_commands_of_the_page_do_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    // The page makes it, and removes it.
    let place = folder.path().join("demo");
    let place = place.to_str().unwrap();
    let jobs = folder.path().join("jobs.log");
    let programs = folder.path().join("programs");
    fs::create_dir(&programs).unwrap();
    // What `cargo install` would do.
    symlink(PROGRAM, programs.join("uds-ipc-relay")).unwrap();
    let (nats, http) = (free_port().to_string(), free_port().to_string());
    let page = include_str!("../../README.md");
    let is_run = |shown: &Shown| {
        !shown.command.contains("cargo test") && !shown.command.starts_with("cargo install")
    };
    let shown: Vec<_> = shown(page).into_iter().filter(is_run).collect();
    // The jobs of the script are ended with it.
    let mut script = "set -m\ntrap 'kill $(jobs -p) 2>/dev/null; wait' EXIT\n".to_owned();
    for Shown { command, .. } in &shown {
        let command = command
            .replace("/tmp/relay-demo", place)
            .replace("-p 4222", &format!("-p {nats}"))
            .replace("9465", &http)
            .replace(
                "cargo run --locked --manifest-path relay/Cargo.toml --example daemon --",
                &example("daemon"),
            );
        let command = match command.strip_suffix(" &") {
            Some(command) => format!("{command} >>{} 2>&1 &", jobs.display()),
            None => command,
        };
        writeln!(script, "echo '{MARK}'\n{command}").unwrap();
    }
    let output = Command::new("bash")
        .arg("-c")
        .arg(format!("exec 2>&1\n{script}"))
        .env(
            "PATH",
            format!("{}:{}", programs.display(), env::var("PATH").unwrap()),
        )
        .env("UDS_IPC_RELAY_NATS_URL", format!("nats://127.0.0.1:{nats}"))
        .env("UDS_IPC_RELAY_HTTP", format!("127.0.0.1:{http}"))
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let jobs = fs::read_to_string(jobs).unwrap();
    let mark = format!("{MARK}\n");
    let parts: Vec<_> = said.split(&mark).skip(1).collect();
    assert_eq!(parts.len(), shown.len(), "{said}");
    for (Shown { command, output }, part) in shown.iter().zip(parts) {
        // The shell tells that jobs have ended.
        let part: String = part
            .split_inclusive('\n')
            .filter(|line| !line.starts_with('['))
            .collect();
        assert_eq!(&part, output, "{command}\n{said}\n{jobs}");
    }
}
