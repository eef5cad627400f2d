//! `uds-ipc install-docs`: man pages, and the words that shells complete, from the same definitions
//! as the command line. Writes files, each whole.

use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use clap::builder::StyledStr;
use clap::{Args, Command};
use clap_complete::{Shell, generate};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};
use humantime::format_rfc3339_seconds;

use crate::say;

/// Where each shell looks below a prefix.
const COMPLETIONS: [(Shell, &str); 3] = [
    (Shell::Bash, "share/bash-completion/completions/uds-ipc"),
    (Shell::Zsh, "share/zsh/site-functions/_uds-ipc"),
    (Shell::Fish, "share/fish/vendor_completions.d/uds-ipc.fish"),
];

const PAGES: &str = "share/man/man1";

const DETAILS: &str = "\
Below PREFIX it writes the man pages to share/man/man1, and what the shells need to complete
the tool's words to share/bash-completion, share/zsh and share/fish, makes the directories that
are missing, and says what it wrote. With /usr/local all shells find it. With ~/.local zsh
needs fpath+=(~/.local/share/zsh/site-functions) in ~/.zshrc, before compinit.

Examples:
  sudo uds-ipc install-docs /usr/local
  uds-ipc install-docs ~/.local";

/// Installs the man pages, and completions for bash, zsh and fish
#[derive(Debug, Args)]
#[command(after_help = DETAILS)]
pub(crate) struct Options {
    /// Where to install
    prefix: PathBuf,
}

pub(crate) fn run(options: &Options, command: Command) -> Result<ExitCode, Box<dyn Error>> {
    for (shell, place) in COMPLETIONS {
        let mut text = Vec::new();
        generate(shell, &mut command.clone(), "uds-ipc", &mut text);
        if shell == Shell::Bash {
            // What is made for bash calls a program with a hyphen by two names: no option of a
            // subcommand would be completed.
            let script = String::from_utf8(text)?;
            text = script
                .replace("uds__subcmd__ipc__subcmd__", "uds__ipc__subcmd__")
                .into_bytes();
        }
        write(&options.prefix.join(place), &text)?;
    }
    let mut command = command.disable_help_subcommand(true);
    command.build();
    for command in command.get_subcommands().chain([&command]) {
        let (name, text) = page(command.clone())?;
        write(&options.prefix.join(PAGES).join(name), text.as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A man page and the name of its file.
fn page(command: Command) -> io::Result<(String, String)> {
    let details = command.get_after_help().map(StyledStr::to_string);
    let has_commands = command.has_subcommands();
    let mut date = format_rfc3339_seconds(SystemTime::now()).to_string();
    date.truncate("2000-01-01".len());
    let source = concat!("uds-ipc ", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.after_help(None::<&str>))
        .date(date)
        .source(source);
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if has_commands {
        man.render_subcommands_section(&mut text)?;
    }
    // Between what an option does and its values it has breaks that mandoc warns of.
    let mut text = String::from_utf8_lossy(&text).replace(".br\n\n.br\n", ".sp\n");
    let mut rest = Roff::new();
    for (title, lines) in sections(&details.unwrap_or_default()) {
        // Its lines stay as they are: the examples would run together.
        rest.control("SH", [title]).control("nf", []);
        for line in lines.lines() {
            rest.text([roman(line)]);
        }
        rest.control("fi", []);
    }
    if !has_commands {
        rest.control("SH", ["SEE ALSO"]).text([roman("uds-ipc(1)")]);
    }
    text.push_str(&rest.to_roff());
    Ok((man.get_filename(), text))
}

/// What stands behind the options of a command, by the sections in which a man page has it.
fn sections(details: &str) -> Vec<(&'static str, String)> {
    let (mut rest, mut codes, mut examples) = (Vec::new(), Vec::new(), Vec::new());
    for paragraph in details.split("\n\n") {
        let is_example = |line: &str| line.starts_with(' ') && line.contains("uds-ipc ");
        if let Some(text) = paragraph.strip_prefix("Exit codes") {
            let text = text.strip_prefix(':').unwrap_or(text);
            codes.push(text.strip_prefix([' ', '\n']).unwrap_or(text));
        } else if paragraph.lines().any(is_example) {
            examples.push(paragraph.strip_prefix("Examples:\n").unwrap_or(paragraph));
        } else {
            rest.push(paragraph);
        }
    }
    let sections = [
        ("DETAILS", rest),
        ("EXIT STATUS", codes),
        ("EXAMPLES", examples),
    ];
    let sections = sections.into_iter().filter(|(_, text)| !text.is_empty());
    sections
        .map(|(title, text)| (title, text.join("\n\n")))
        .collect()
}

fn write(path: &Path, text: &[u8]) -> Result<(), String> {
    let directory = path.parent().map_or(Ok(()), fs::create_dir_all);
    directory
        .and_then(|()| fs::write(path, text))
        .map_err(|error| format!("cannot write {}: {}", path.display(), say::chain(&error)))?;
    say::line(format_args!("wrote {}", path.display()));
    Ok(())
}
