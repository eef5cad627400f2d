//! The rules of the house, held against the sources: who may name whom, how long a file may be,
//! what is never written.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails where something is not as it must be"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Each module, its layer from the top, and the modules of the crate that it may name. A module
/// without a row fails.
const MAY_NAME: &[(&str, &str)] = &[
    // What users hold, and the two halves below it.
    (
        "lib",
        "address descriptor_kind error event listen message metrics peer reader writer",
    ),
    ("guide", ""),
    (
        "systemd",
        "activation clock deadline error event own_thread reader runtime_directory sys guide",
    ),
    (
        "writer",
        "address backoff clock deadline error event message metrics num observer own_thread peer pool reentry sys frame",
    ),
    (
        "reader",
        "activation address clock deadline error event frame listen metrics num observer own_thread peer pool reentry runtime_directory sys",
    ),
    // Where the reader's socket comes from.
    ("listen", "address descriptor_kind error sys"),
    ("activation", "descriptor_kind sys"),
    // The system.
    ("sys", "address descriptor_kind peer"),
    // The leaves: values.
    ("error", "activation address descriptor_kind"),
    ("event", "address metrics peer"),
    ("address", ""),
    ("backoff", ""),
    ("clock", ""),
    ("deadline", ""),
    ("descriptor_kind", ""),
    ("frame", ""),
    ("message", ""),
    ("metrics", "num"),
    ("num", ""),
    ("observer", ""),
    ("own_thread", ""),
    ("peer", ""),
    ("pool", ""),
    ("reentry", ""),
    ("runtime_directory", ""),
];

/// The machines: pure, so that they can be simulated. No I/O, no threads, no clock.
const PURE: &[&str] = &[
    "address.rs",
    "backoff.rs",
    "deadline.rs",
    "frame.rs",
    "message.rs",
    "writer/block.rs",
    "writer/flush.rs",
    "writer/handed.rs",
    "writer/ledger.rs",
    "writer/limits.rs",
    "writer/step.rs",
    "writer/attention.rs",
    "writer/outbox.rs",
    "writer/queue/mod.rs",
    "writer/queue/room.rs",
    "writer/queue/writing.rs",
    "writer/state.rs",
    "reader/decoder.rs",
    "reader/receipts.rs",
    "reader/state.rs",
    "systemd/schedule.rs",
];

/// The only files with unsafe code: one system call, and one variable of the environment, for which
/// no safe form exists; and memory that two threads use without a lock, with the pointer to it.
const UNSAFE: &[&str] = &[
    "sys/linux/unread.rs",
    "sys/environment.rs",
    "writer/lane.rs",
    "writer/local.rs",
];

struct Source {
    /// The path below src.
    name: String,
    /// Without its tests.
    code: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files_below(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The library's sources: without the tool, and without what is a test as a whole.
fn sources() -> Vec<Source> {
    let src = root().join("src");
    let mut files = Vec::new();
    files_below(&src, &mut files);
    files
        .into_iter()
        .filter(|path| {
            !path.starts_with(src.join("bin")) && !path.to_str().unwrap().contains("simulat")
        })
        .filter(|path| !path.ends_with("fuzzing.rs"))
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap().to_owned();
            Source {
                name: path
                    .strip_prefix(&src)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned(),
                code,
            }
        })
        .collect()
}

fn module_of(name: &str) -> &str {
    name.split('/').next().unwrap().trim_end_matches(".rs")
}

/// The modules that `code` names: `crate::module`, and in the root `module::`.
fn named_by(code: &str) -> Vec<String> {
    let lines = code
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with("//"));
    lines
        .flat_map(|line| {
            line.match_indices("crate::").map(|(at, found)| {
                let rest = &line[at + found.len()..];
                let end = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
                rest[..end.unwrap_or(rest.len())].to_owned()
            })
        })
        .collect()
}

#[test]
fn names_point_down_only() {
    let table: BTreeMap<_, _> = MAY_NAME
        .iter()
        .map(|(module, may)| (*module, *may))
        .collect();
    let mut broken = Vec::new();
    for source in sources() {
        let module = module_of(&source.name);
        let Some(may) = table.get(module) else {
            broken.push(format!("{} has no row in the table", source.name));
            continue;
        };
        for named in named_by(&source.code) {
            if named != module && !may.split(' ').any(|may| may == named) {
                broken.push(format!("{} names {named}", source.name));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn the_two_halves_never_name_each_other() {
    for source in sources() {
        let other = match module_of(&source.name) {
            "writer" => "reader",
            "reader" => "writer",
            _ => continue,
        };
        assert!(
            !named_by(&source.code).iter().any(|named| named == other),
            "{} names {other}",
            source.name
        );
    }
}

#[test]
fn the_machines_are_pure() {
    let sources = sources();
    for name in PURE {
        let source = sources
            .iter()
            .find(|source| source.name == *name)
            .expect(name);
        for banned in [
            "std::thread",
            "Instant::now",
            "clock::",
            "std::fs",
            "std::os::fd",
            "std::net",
            "parking_lot",
            "sys::",
        ] {
            assert!(!source.code.contains(banned), "{name} has {banned}");
        }
    }
}

#[test]
fn every_file_says_what_it_is() {
    for source in sources() {
        assert!(
            source.code.starts_with("//!"),
            "{} does not say what it is",
            source.name
        );
    }
}

#[test]
fn the_library_has_no_stubs_and_unsafe_code_in_few_places_only() {
    for source in sources() {
        assert!(
            !source.code.contains("unsafe ") || UNSAFE.contains(&source.name.as_str()),
            "{} is unsafe",
            source.name
        );
        for banned in ["todo!", "unimplemented!", "dbg!", "#[ignore"] {
            assert!(
                !source.code.contains(banned),
                "{} has {banned}",
                source.name
            );
        }
    }
}

#[test]
fn every_example_stands_in_the_readme() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    for entry in fs::read_dir(root().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(
            readme.contains(name),
            "the README does not name the example {name}"
        );
    }
}

#[test]
fn every_setting_stands_in_the_readme() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    for builder in ["src/writer/builder.rs", "src/reader/builder.rs"] {
        let code = fs::read_to_string(root().join(builder)).unwrap();
        let methods = code
            .lines()
            .filter_map(|line| line.trim().strip_prefix("pub fn "));
        let setters = methods
            .filter_map(|line| line.split_once("(mut self"))
            .map(|(name, _)| name);
        for setter in setters {
            assert!(
                readme.contains(&format!("`{setter}`")),
                "the README does not name the setting {setter}"
            );
        }
    }
}

#[test]
fn the_picture_of_the_architecture_names_every_file() {
    let page = fs::read_to_string(root().join("src/guide/architecture.rs")).unwrap();
    for source in sources() {
        let file = source.name.rsplit('/').next().unwrap();
        let is_covered = ["sys", "guide", "lib"].contains(&module_of(&source.name));
        assert!(
            is_covered || page.contains(file),
            "the picture lacks {}",
            source.name
        );
    }
}

/// The page on delivery says of each row which tests show it: they must be there.
#[test]
fn every_row_of_the_delivery_table_names_its_tests() {
    let page = fs::read_to_string(root().join("src/guide/delivery.rs")).unwrap();
    let mut files = Vec::new();
    files_below(&root().join("tests"), &mut files);
    files_below(&root().join("src"), &mut files);
    let tests: String = files
        .iter()
        .map(|file| fs::read_to_string(file).unwrap())
        .collect();
    let rows: Vec<_> = page
        .lines()
        .filter(|line| line.starts_with("//! | "))
        .skip(2)
        .collect();
    assert!(rows.len() > 10, "the table is gone");
    for row in rows {
        let shown_by = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        let names: Vec<_> = shown_by
            .split(", ")
            .map(|name| name.trim_matches('`'))
            .collect();
        for name in names {
            assert!(
                tests.contains(&format!("fn {name}()")),
                "there is no test {name}"
            );
        }
    }
}
