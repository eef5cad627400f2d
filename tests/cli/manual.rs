//! `install-docs`: the man pages and completions are where they belong, and whole.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::stage::{Place, tool_command};

const COMMANDS: [&str; 8] = [
    "listen",
    "send",
    "top",
    "call",
    "respond",
    "check",
    "bench",
    "install-docs",
];

/// Runs a checker where it is installed, and expects it to find nothing.
fn assert_clean(command: &mut Command) {
    let Ok(output) = command.stdin(Stdio::null()).output() else {
        // In .ci/run they are there.
        return;
    };
    assert!(
        output.status.success() && output.stdout.is_empty(),
        "{command:?}: {output:?}"
    );
}

#[test]
fn man_pages_and_completions_are_installed_and_are_well_formed() {
    let place = Place::new();
    let arguments = ["install-docs", "prefix"];
    place
        .tool(&arguments, Stdio::null(), Stdio::null())
        .end()
        .assert_code(0)
        .assert_said("wrote prefix/share/man/man1/uds-ipc-listen.1");
    let share = place.path("prefix/share");
    let pages = share.join("man/man1");
    let names: BTreeSet<_> = fs::read_dir(&pages)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let of_commands = COMMANDS.map(|command| format!("uds-ipc-{command}.1"));
    let expected = of_commands.into_iter().chain(["uds-ipc.1".to_owned()]);
    assert_eq!(names, expected.collect());
    for name in names {
        let page = pages.join(&name);
        let text = fs::read_to_string(&page).unwrap();
        for section in ["SYNOPSIS", "OPTIONS", "DETAILS", "EXAMPLES"] {
            let is_there = text.contains(&format!(".SH {section}\n"));
            assert!(is_there, "no {section} in {name}: {text}");
        }
        let has_codes = text.contains(".SH \"EXIT STATUS\"\n");
        assert!(has_codes || name.contains("install-docs"), "{name}: {text}");
        assert!(!text.contains("bench\\-reader"), "{name}: {text}");
        assert_clean(
            Command::new("mandoc")
                .args(["-T", "lint", "-W", "warning"])
                .arg(page),
        );
    }
    for (shell, file) in [
        ("bash", "bash-completion/completions/uds-ipc"),
        ("zsh", "zsh/site-functions/_uds-ipc"),
        ("fish", "fish/vendor_completions.d/uds-ipc.fish"),
    ] {
        let file = share.join(file);
        let text = fs::read_to_string(&file).unwrap();
        for word in COMMANDS.into_iter().chain(["until-idle"]) {
            assert!(text.contains(word), "no {word} for {shell}");
        }
        let is_said = ["bench-reader", "bench__reader"]
            .iter()
            .any(|word| text.contains(word));
        assert!(!is_said, "for {shell}");
        assert_clean(Command::new(shell).arg("-n").arg(file));
    }
}

#[test]
fn bash_completes_the_options_of_a_subcommand() {
    let place = Place::new();
    place
        .tool(&["install-docs", "prefix"], Stdio::null(), Stdio::null())
        .end()
        .assert_code(0);
    let script = r#"
        source "$1"
        COMP_WORDS=(uds-ipc listen --until) COMP_CWORD=2
        _uds__ipc uds-ipc --until listen
        echo "${COMPREPLY[@]}"
    "#;
    let file = place.path("prefix/share/bash-completion/completions/uds-ipc");
    let output = Command::new("bash")
        .args(["-c", script, "bash"])
        .arg(file)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "--until-idle\n");
}

#[test]
fn what_cannot_be_written_is_named() {
    let place = Place::new();
    fs::write(place.path("file"), "").unwrap();
    place
        .tool(&["install-docs", "file"], Stdio::null(), Stdio::null())
        .end()
        .assert_code(1)
        .assert_said("cannot write file/share/");
}

/// The options in the calls of the tool that a page shows, with their commands.
fn options_in(page: &str) -> Vec<(&'static str, String)> {
    let mut options = Vec::new();
    for call in page.lines().flat_map(|line| line.split("uds-ipc ").skip(1)) {
        // What stands behind it is of another program, or prose.
        let call = call.split(['`', '|', '#', '>', '<']).next().unwrap();
        let mut words = call.split_whitespace();
        let command = words
            .next()
            .and_then(|word| COMMANDS.iter().find(|it| **it == word));
        if let Some(command) = command {
            let names = words.filter(|word| word.starts_with("--"));
            options.extend(names.map(|name| (*command, name.to_owned())));
        }
    }
    options
}

/// What an operator must know who has nothing but the help.
const TOLD: &[(&str, &str)] = &[
    (
        "listen",
        "What was sent beyond is lost, unless its sender delivers at least once",
    ),
    (
        "listen",
        "since the last one or, where none came, since the start",
    ),
    (
        "listen",
        "where nothing ever comes it stops after that, with exit code 0",
    ),
    (
        "check",
        "Exit codes: 0 somebody accepts and reads 1 nobody listens",
    ),
    (
        "listen",
        "a stream (SOCK_STREAM, not datagrams) of varint frames",
    ),
    ("listen", "No times are recorded: `send --rate` paces"),
    (
        "call",
        "Where nobody answers it fails at once, or after --wait",
    ),
    // Further ones.
];

fn help(command: &str) -> String {
    let help = tool_command().args(["help", command]).output().unwrap();
    String::from_utf8(help.stdout).unwrap()
}

#[test]
fn the_help_tells_what_it_costs_not_to_know() {
    for (command, words) in TOLD {
        let help = help(command);
        let text = help.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(words), "{command}: {words}: {help}");
    }
    let overview = tool_command().arg("--help").output().unwrap();
    let overview = String::from_utf8(overview.stdout).unwrap();
    assert!(overview.contains("a stream, not datagrams: before each message its length, a varint"));
}

#[test]
fn the_pages_call_the_tool_with_options_that_it_has() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let guide = fs::read_dir(root.join("src/guide")).unwrap();
    let pages = guide.map(|page| page.unwrap().path());
    let pages = pages.chain([root.join("README.md")]);
    let options = pages.flat_map(|page| options_in(&fs::read_to_string(page).unwrap()));
    let options: BTreeSet<_> = options.collect();
    assert!(options.len() >= 12, "{options:?}");
    for command in COMMANDS {
        let help = help(command);
        for (_, option) in options.iter().filter(|(of, _)| *of == command) {
            let is_there = help.split([' ', ',', '\n']).any(|word| word == option);
            assert!(is_there, "{command} has no {option}");
        }
    }
}

#[test]
fn the_options_of_a_call_are_found() {
    let page = "//! $ uds-ipc listen /s --for 1m > out --no   # --no\n`uds-ipc send s --rate 5` --no\n\
                ssh HOST 'uds-ipc send - --nul' | uds-ipc top - --sort total\nuds-ipc is --no";
    let expected = [
        ("listen", "--for"),
        ("send", "--rate"),
        ("send", "--nul"),
        ("top", "--sort"),
    ];
    let found = options_in(&page.replace('\'', " "));
    let found: Vec<_> = found
        .iter()
        .map(|(of, option)| (*of, option.as_str()))
        .collect();
    assert_eq!(found, expected);
}
