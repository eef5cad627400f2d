//! `install-docs`: the man pages and completions are where they belong, and whole.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};

use crate::stage::Place;

const COMMANDS: [&str; 6] = ["listen", "send", "top", "check", "bench", "install-docs"];

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
        let page = pages.join(name);
        let text = fs::read_to_string(&page).unwrap();
        assert!(text.contains("SH DETAILS"), "{text}");
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
        assert_clean(Command::new(shell).arg("-n").arg(file));
    }
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
