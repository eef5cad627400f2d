//! The rules of the house, held against the sources: which file may import which, what is pure,
//! what is never written, and what the docs must name.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails where something is not as it must be"
)]

mod sources;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

use sources::{Source, Sources};

/// Each module of the library, and those that it may import. A module without a row fails.
const MAY_NAME: &[(&str, &str)] = &[
    // What users hold, and the two halves below it.
    ("lib", ""),
    ("guide", ""),
    (
        "systemd",
        "activation clock deadline error event own_thread reader runtime_directory sys",
    ),
    (
        "writer",
        "address arena atomics backoff buffer_size clock deadline descriptor_store error event message metrics num observer outcome own_thread panic_guard peer reentry send_error sys system_error wire",
    ),
    (
        "reader",
        "activation address arena buffer_size clock deadline descriptor_store error event listen metrics num observer outcome own_thread panic_guard peer buffer_pool reentry runtime_directory sys wire",
    ),
    (
        "calls",
        "activation address backoff buffer_size clock codec deadline descriptor_kind error listen num own_thread panic_guard peer reentry runtime_directory sys system_error wire",
    ),
    // Where the reader's socket comes from.
    ("listen", "address buffer_size descriptor_kind error sys"),
    ("activation", "descriptor_kind sys"),
    // What outlives its service.
    (
        "descriptor_store",
        "activation address arena event peer sys",
    ),
    // The system.
    ("sys", "address atomics descriptor_kind peer"),
    // The leaves: values.
    ("send_error", "error"),
    (
        "error",
        "activation address codec descriptor_kind system_error",
    ),
    ("event", "address metrics peer system_error"),
    ("address", ""),
    ("arena", "num sys wire"),
    ("atomics", ""),
    ("backoff", ""),
    ("clock", ""),
    ("codec", "num wire"),
    ("deadline", ""),
    ("descriptor_kind", ""),
    ("message", ""),
    ("metrics", "num"),
    ("buffer_size", ""),
    ("num", ""),
    ("observer", "panic_guard"),
    ("outcome", ""),
    ("own_thread", "sys"),
    ("panic_guard", ""),
    ("peer", ""),
    ("buffer_pool", ""),
    ("reentry", ""),
    ("runtime_directory", ""),
    ("system_error", ""),
    ("wire", ""),
];

/// The layers inside the folders, from the top down: a room (a file or a folder) imports from lower
/// layers only. A room without a place fails, and so does a place without a room.
const LAYERS: &[(&str, &[&str])] = &[
    (
        "writer",
        &[
            "message_sink",
            "async_writer end_of_program io_write lines",
            "builder",
            "mod",
            "send thread",
            "shared",
            "ack_tracker",
            "queue",
            "counters state",
            "lane",
            "slot",
            "arena",
            "connector settings wake",
        ],
    ),
    (
        "writer/queue",
        &[
            "lanes",
            "writing",
            "mod",
            "spare",
            "deferred_drop outbox whole",
            "block budget lane_record open_block watermarks",
        ],
    ),
    (
        "reader",
        &[
            "batch_stream",
            "batches",
            "builder",
            "mod",
            "health threads",
            "batch_queue",
            "gatherer",
            "batch target",
            "shared",
            "arenas",
            "callbacks connection counters handler recover thread_pool",
        ],
    ),
    (
        "reader/connection",
        &[
            "mod",
            "source",
            "remains",
            "closing timeouts",
            "decoder receipts",
            "unconfirmed",
            "batch_end",
        ],
    ),
    (
        "reader/threads",
        &["mod", "supervisor", "worker", "accept turn", "batch"],
    ),
    ("calls", &["mod", "caller responder", "error message"]),
    (
        "calls/caller",
        &[
            "async_caller builder",
            "mod",
            "replies",
            "driver",
            "dial machine",
        ],
    ),
    (
        "calls/responder",
        &[
            "builder",
            "mod",
            "registry worker",
            "call",
            "shared",
            "connection",
            "machine",
        ],
    ),
    ("systemd", &["mod", "service", "notify schedule"]),
    (
        "event",
        &["reader writer", "notify_error", "mod", "severity"],
    ),
    ("metrics", &["exposition publisher", "figure", "mod"]),
    (
        "sys",
        &[
            "mod",
            "inherited listening_socket wait poller",
            "stream notify asymmetric_fence",
            "linux other windows",
            "descriptor environment file fork interest resolve signals standard_streams",
            "no_shared_memory",
            "abilities arrival family file_change not_accepted readiness shared_memory_error tcp_options transfer",
        ],
    ),
    (
        "sys/stream",
        &["mod", "other pipe tcp unix", "calls socket"],
    ),
    (
        "sys/linux",
        &[
            "mod",
            "arrival_watch file_watch peer_process",
            "credentials fence passing pinned poll poller process shared_memory unread waker",
        ],
    ),
    (
        "sys/other",
        &[
            "mod",
            "arrival_watch file_watch peer_process",
            "credentials fence passing pinned poll poller process unread waker",
        ],
    ),
    (
        "sys/windows",
        &[
            "mod",
            "inherited listening_socket peer_process wait",
            "poller stream watch",
            "waker",
            "fence unsupported",
        ],
    ),
    (
        "listen",
        &[
            "mod",
            "bind",
            "path",
            "directory listener stale",
            "no_file socket_file",
            "lock_file options",
        ],
    ),
    ("address", &["mod", "parse", "bytes", "error tcp"]),
    ("descriptor_store", &["mod", "manager nowhere", "name"]),
    (
        "arena",
        &["mod", "frames", "passed", "recovery", "layout ticket"],
    ),
    ("activation", &["mod", "claim", "passed variables", "error"]),
    ("writer/lane", &["local", "mod"]),
    (
        "writer/shared",
        &["waiting", "mod", "locked", "flush tasks"],
    ),
    ("writer/state", &["mod", "link step timing"]),
    (
        "writer/thread",
        &[
            "mod",
            "acks",
            "worker",
            "drop_notice inherit kernel",
            "memory",
            "dial",
            "attempt",
        ],
    ),
    ("wire", &["mod", "receipt", "frame"]),
    (
        "guide",
        &[
            "mod",
            "architecture calls comparison cookbook crash_proof delivery ecosystem from_go from_tracing_appender from_zeromq production promises settings sockets speed stability streams systemd tool wire",
        ],
    ),
    (
        "bin/uds-ipc",
        &[
            "main",
            "bench call check listen manual respond send top",
            "listening",
            "command input outlet output progress signals",
            "board format frames reach",
            "accounts figures instead say screen speed values",
            "clock patient program",
        ],
    ),
    (
        "bin/uds-ipc/bench",
        &[
            "mod",
            "plot",
            "json report",
            "results",
            "paced reading throughput",
            "stamped waking",
            "handwritten ours raw staged",
            "counter sending target",
            "processes",
            "ends",
            "failure",
            "cases",
            "placement",
            "answers clock machine numbers",
        ],
    ),
];

/// A type and its builder name each other: the only arrows up, each with the name that needs it.
const BUILDERS: &[(&str, &str)] = &[
    ("writer/mod.rs", "writer/builder.rs"),
    ("reader/mod.rs", "reader/builder.rs"),
    ("calls/caller/mod.rs", "calls/caller/builder.rs"),
    ("calls/responder/mod.rs", "calls/responder/builder.rs"),
];

/// The files, and the folders (with a `/`), that wait, read the clock, or do I/O. All others are
/// pure, so that they can be simulated: they import none of these, and nothing of `IMPURE`.
const SHELLS: &[&str] = &[
    "activation/claim.rs",
    "activation/mod.rs",
    "arena/frames.rs",
    "arena/passed.rs",
    "calls/caller/async_caller.rs",
    "calls/caller/builder.rs",
    "calls/caller/dial.rs",
    "calls/caller/driver.rs",
    "calls/caller/mod.rs",
    "calls/caller/replies.rs",
    "calls/responder/builder.rs",
    "calls/responder/call.rs",
    "calls/responder/connection.rs",
    "calls/responder/mod.rs",
    "calls/responder/registry.rs",
    "calls/responder/shared.rs",
    "calls/responder/worker.rs",
    "clock.rs",
    "descriptor_store/mod.rs",
    "descriptor_store/manager.rs",
    "descriptor_store/nowhere.rs",
    "listen/bind.rs",
    "listen/directory.rs",
    "listen/socket_file.rs",
    "listen/listener.rs",
    "listen/lock_file.rs",
    "listen/mod.rs",
    "listen/no_file.rs",
    "listen/path.rs",
    "listen/stale.rs",
    "own_thread.rs",
    "reader/batch.rs",
    "reader/batch_queue.rs",
    "reader/batches.rs",
    "reader/builder.rs",
    "reader/arenas.rs",
    "reader/callbacks.rs",
    "reader/connection/mod.rs",
    "reader/connection/remains.rs",
    "reader/connection/source.rs",
    "reader/gatherer.rs",
    "reader/health.rs",
    "reader/mod.rs",
    "reader/shared.rs",
    "reader/batch_stream.rs",
    "reader/target.rs",
    "reader/threads/accept.rs",
    "reader/threads/supervisor.rs",
    "reader/threads/turn.rs",
    "reader/threads/worker.rs",
    "sys/",
    "systemd/mod.rs",
    "systemd/notify.rs",
    "systemd/service.rs",
    "writer/async_writer.rs",
    "writer/message_sink.rs",
    "writer/builder.rs",
    "writer/connector.rs",
    "writer/end_of_program.rs",
    "writer/io_write.rs",
    "writer/lines.rs",
    "writer/mod.rs",
    "writer/shared/locked.rs",
    "writer/shared/mod.rs",
    "writer/shared/waiting.rs",
    "writer/send.rs",
    "writer/thread/",
    "bin/uds-ipc/bench/answers.rs",
    "bin/uds-ipc/bench/clock.rs",
    "bin/uds-ipc/bench/counter.rs",
    "bin/uds-ipc/bench/ends.rs",
    "bin/uds-ipc/bench/failure.rs",
    "bin/uds-ipc/bench/handwritten.rs",
    "bin/uds-ipc/bench/json.rs",
    "bin/uds-ipc/bench/machine.rs",
    "bin/uds-ipc/bench/mod.rs",
    "bin/uds-ipc/bench/ours.rs",
    "bin/uds-ipc/bench/paced.rs",
    "bin/uds-ipc/bench/plot.rs",
    "bin/uds-ipc/bench/processes.rs",
    "bin/uds-ipc/bench/placement.rs",
    "bin/uds-ipc/bench/raw.rs",
    "bin/uds-ipc/bench/staged.rs",
    "bin/uds-ipc/bench/reading.rs",
    "bin/uds-ipc/bench/report.rs",
    "bin/uds-ipc/bench/results.rs",
    "bin/uds-ipc/bench/sending.rs",
    "bin/uds-ipc/bench/stamped.rs",
    "bin/uds-ipc/bench/target.rs",
    "bin/uds-ipc/bench/throughput.rs",
    "bin/uds-ipc/bench/waking.rs",
    "bin/uds-ipc/accounts.rs",
    "bin/uds-ipc/call.rs",
    "bin/uds-ipc/check.rs",
    "bin/uds-ipc/clock.rs",
    "bin/uds-ipc/command.rs",
    "bin/uds-ipc/input.rs",
    "bin/uds-ipc/instead.rs",
    "bin/uds-ipc/listen.rs",
    "bin/uds-ipc/listening.rs",
    "bin/uds-ipc/main.rs",
    "bin/uds-ipc/manual.rs",
    "bin/uds-ipc/outlet.rs",
    "bin/uds-ipc/output.rs",
    "bin/uds-ipc/patient.rs",
    "bin/uds-ipc/program.rs",
    "bin/uds-ipc/progress.rs",
    "bin/uds-ipc/reach.rs",
    "bin/uds-ipc/respond.rs",
    "bin/uds-ipc/say.rs",
    "bin/uds-ipc/screen.rs",
    "bin/uds-ipc/send.rs",
    "bin/uds-ipc/signals.rs",
    "bin/uds-ipc/top.rs",
];

/// Not pure, and used by pure files all the same: to one thread alone they are as good as pure.
const HARMLESS: &[(&str, &str)] = &[
    (
        "activation/passed.rs",
        "names descriptors, and does nothing to them",
    ),
    (
        "buffer_pool.rs",
        "a lock that is never held while anything waits",
    ),
    (
        "writer/arena.rs",
        "likewise; and each word is stored and read by one thread at a time",
    ),
    (
        "sys/asymmetric_fence.rs",
        "orders memory; alone a thread sees nothing of it",
    ),
    (
        "sys/fork.rs",
        "a number that changes with a fork only, and then the thread is another one",
    ),
];

/// What is not pure. Channels are: the machines only try.
const IMPURE: &[&str] = &[
    "nix",
    "parking_lot",
    "rustix",
    "socket2",
    "std::fs",
    "std::io::stderr",
    "std::io::stdin",
    "std::io::stdout",
    "std::net",
    "std::os::fd",
    "std::os::unix::net",
    "std::process",
    "std::sync::Barrier",
    "std::sync::Condvar",
    "std::sync::Mutex",
    "std::sync::RwLock",
    "std::sync::mpsc",
    "std::thread",
    "std::time::Instant::now",
    "std::time::SystemTime",
];

/// What only a Unix has, or its service manager.
const UNIX: &[&str] = &["libc", "listenfd", "nix", "rustix", "sd_notify", "std::os"];

/// The files above `sys`, and the folders, that are compiled for Unix only, or in part.
const FOR_UNIX: &[&str] = &[
    "activation/",
    "address/bytes.rs",
    "listen/directory.rs",
    "listen/lock_file.rs",
    "listen/path.rs",
    "listen/socket_file.rs",
    "listen/stale.rs",
    "runtime_directory.rs",
    "systemd/",
];

/// The only files with unsafe code: system calls, and one variable of the environment, for which no
/// safe form exists; and memory that two threads use without a lock, with the pointer to it.
const UNSAFE: &[&str] = &[
    "sys/inherited.rs",
    "sys/linux/shared_memory.rs",
    "sys/linux/unread.rs",
    "sys/environment.rs",
    "sys/fork.rs",
    "writer/lane/mod.rs",
    "writer/lane/local.rs",
    "writer/arena.rs",
    "writer/slot.rs",
    "writer/thread/memory.rs",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All Rust files below some folders of the repository, by their path in it.
fn files(folders: &[&str]) -> Vec<String> {
    let mut files = Vec::new();
    for folder in folders {
        files_below(&root().join(folder), &mut files);
    }
    let name = |file: &PathBuf| {
        file.strip_prefix(root())
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned()
    };
    files.iter().map(name).collect()
}

fn files_below(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            files_below(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The library.
fn library() -> Sources {
    sources::read(&root().join("src"), "lib.rs")
}

/// The library and the tool.
fn all() -> Sources {
    let mut all = library();
    all.extend(sources::read(&root().join("src"), "bin/uds-ipc/main.rs"));
    all
}

fn assert_none(broken: &[String]) {
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Every import of one file by another, with a name that it is for.
fn imports(sources: &Sources) -> impl Iterator<Item = (&str, &str, &str)> {
    sources.iter().flat_map(|(file, source)| {
        let imports = source.imports.iter();
        imports.map(|(from, name)| (file.as_str(), from.as_str(), name.as_str()))
    })
}

fn module_of(file: &str) -> &str {
    file.split('/').next().unwrap().trim_end_matches(".rs")
}

#[test]
fn names_point_down_only() {
    let table: BTreeMap<_, _> = MAY_NAME.iter().copied().collect();
    let library = library();
    let mut broken = Vec::new();
    for file in library.keys() {
        if !table.contains_key(module_of(file)) {
            broken.push(format!("{file} has no row in MAY_NAME"));
        }
    }
    for (file, from, name) in imports(&library) {
        let (module, other) = (module_of(file), module_of(from));
        let may = table.get(module).copied().unwrap_or_default();
        if module != other && !may.split(' ').any(|may| may == other) {
            broken.push(format!("{file} imports {name} from {from}"));
        }
    }
    assert_none(&broken);
}

#[test]
fn the_two_halves_never_name_each_other() {
    let library = library();
    for (file, from, name) in imports(&library) {
        let pair = [module_of(file), module_of(from)];
        assert!(
            pair != ["writer", "reader"] && pair != ["reader", "writer"],
            "{file} imports {name} from {from}"
        );
    }
}

/// The innermost folder that both are in, and the room of each there.
fn rooms<'a>(file: &'a str, from: &'a str) -> (&'a str, [&'a str; 2]) {
    let slashes = file.match_indices('/').map(|(at, _)| at);
    let mut shared = slashes.filter(|&at| from.get(..=at) == Some(&file[..=at]));
    let folder = shared.next_back().map_or("", |at| &file[..at]);
    (folder, [file, from].map(|file| room(folder, file)))
}

/// The room of a folder that a file is in.
fn room<'a>(folder: &str, file: &'a str) -> &'a str {
    module_of(file[folder.len()..].trim_start_matches('/'))
}

#[test]
fn rooms_import_from_lower_layers_only() {
    let all = all();
    let mut broken = Vec::new();
    // The place of each room, counted from the top.
    let mut places = BTreeMap::new();
    for (folder, layers) in LAYERS {
        for (depth, layer) in layers.iter().enumerate() {
            for room in layer.split(' ') {
                places.insert((*folder, room), depth);
            }
        }
    }
    let mut there = BTreeSet::new();
    for file in all.keys() {
        let folders = file.match_indices('/').map(|(at, _)| &file[..at]);
        for folder in folders.filter(|folder| *folder != "bin") {
            if there.insert((folder, room(folder, file)))
                && !places.contains_key(&(folder, room(folder, file)))
            {
                broken.push(format!("{file} has no place in LAYERS of {folder}"));
            }
        }
    }
    for (folder, room) in places.keys().filter(|place| !there.contains(*place)) {
        broken.push(format!("there is no {room} in {folder}"));
    }
    for (file, from, name) in imports(&all) {
        let (folder, [upper, lower]) = rooms(file, from);
        let [upper, lower] = [upper, lower].map(|room| places.get(&(folder, room)));
        // Without a place it was told of, or it is for MAY_NAME.
        let (Some(upper), Some(lower)) = (upper, lower) else {
            continue;
        };
        if upper >= lower && !BUILDERS.contains(&(file, from)) {
            broken.push(format!("{file} imports {name} from {from}"));
        }
    }
    assert_none(&broken);
}

/// The shortest way of imports from a file back to itself.
fn circle<'a>(sources: &'a Sources, start: &'a str) -> Option<Vec<&'a str>> {
    let mut ways = VecDeque::from([vec![start]]);
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop_front() {
        let last = way[way.len() - 1];
        for next in sources[last].imports.keys() {
            if BUILDERS.contains(&(last, next)) {
                continue;
            }
            let on = [&way[..], &[next]].concat();
            if next == start {
                return Some(on);
            }
            if seen.insert(next) {
                ways.push_back(on);
            }
        }
    }
    None
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let all = all();
    let circles = all.keys().filter_map(|file| circle(&all, file));
    // Each once, from the first of its files on.
    let first = circles.filter(|circle| circle.iter().min() == circle.first());
    let told = first.map(|circle| {
        let imports = circle.windows(2).map(|pair| {
            let name = &all[pair[0]].imports[pair[1]];
            format!("{} imports {name} from {}", pair[0], pair[1])
        });
        imports.collect::<Vec<_>>().join(", ")
    });
    assert_none(&told.collect::<Vec<_>>());
}

#[test]
fn a_builder_is_named_by_what_it_builds() {
    let all = all();
    for (file, from) in BUILDERS {
        assert!(
            all[*file].imports.contains_key(*from),
            "{file} does not import {from}: take it out of BUILDERS"
        );
    }
}

/// Whether a name is that one, or of something in it.
fn is_below(name: &str, above: &str) -> bool {
    let rest = name.strip_prefix(above);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[test]
fn files_are_pure_or_shells() {
    let all = all();
    let is_impure = |name: &&String| IMPURE.iter().any(|banned| is_below(name, banned));
    let is_harmless = |file: &str| HARMLESS.iter().any(|(harmless, _)| *harmless == file);
    let is_of =
        |file: &str, shell: &str| shell == file || shell.ends_with('/') && file.starts_with(shell);
    let is_shell = |file: &str| !is_harmless(file) && SHELLS.iter().any(|shell| is_of(file, shell));
    let mut broken = Vec::new();
    for (file, source) in &all {
        if is_shell(file) || is_harmless(file) {
            continue;
        }
        for name in source.foreign.iter().filter(is_impure) {
            broken.push(format!("{file} is pure, and names {name}"));
        }
        for (from, name) in &source.imports {
            if is_shell(from) {
                broken.push(format!("{file} is pure, and imports {name} from {from}"));
            }
        }
    }
    for shell in SHELLS.iter().chain(HARMLESS.iter().map(|(file, _)| file)) {
        if !all.keys().any(|file| is_of(file, shell)) {
            broken.push(format!("there is no {shell}"));
        }
    }
    assert_none(&broken);
}

/// `.ci/platforms windows` finds out what the compiler can; this is told at once.
#[test]
fn above_the_seam_of_the_systems_nothing_names_what_only_unix_has() {
    let mut broken = Vec::new();
    for (file, source) in library() {
        let is_for_unix = FOR_UNIX.iter().any(|part| file.starts_with(part));
        if is_for_unix || file.starts_with("sys/") {
            continue;
        }
        for name in source.foreign {
            if UNIX.iter().any(|banned| is_below(&name, banned)) {
                broken.push(format!("{file} names {name}"));
            }
        }
    }
    assert_none(&broken);
}

#[test]
fn the_library_has_no_stubs_and_unsafe_code_in_few_places_only() {
    let mut broken = Vec::new();
    for (
        file,
        Source {
            macros, is_unsafe, ..
        },
    ) in all()
    {
        if is_unsafe != UNSAFE.contains(&file.as_str()) {
            broken.push(format!("{file} is unsafe: {is_unsafe}"));
        }
        for banned in ["todo", "unimplemented", "dbg"] {
            if macros.contains(banned) {
                broken.push(format!("{file} has {banned}!"));
            }
        }
    }
    assert_none(&broken);
}

#[test]
fn every_file_says_what_it_is_and_leaves_no_test_out() {
    let mut broken = Vec::new();
    for file in files(&["src", "tests", "benches", "examples", "fuzz"]) {
        let text = text(&file);
        if !text.starts_with("//! ") {
            broken.push(format!("{file} does not say what it is"));
        }
        if text
            .lines()
            .any(|line| line.trim_start().starts_with("#[ignore"))
        {
            broken.push(format!("{file} leaves a test out"));
        }
    }
    assert_none(&broken);
}

/// Whether a line is a comment that is wider than the house, and could be broken.
fn is_wide_comment(line: &str) -> bool {
    let Some(comment) = line.trim_start().strip_prefix("//") else {
        return false;
    };
    let said = comment.trim_start_matches(['/', '!']).trim();
    let is_link = said.contains("](") || said.contains("]: ") || said.contains("://");
    line.chars().count() > 100 && !said.starts_with('|') && !is_link && said.contains(' ')
}

#[test]
fn comments_are_at_most_100_columns_wide() {
    let mut broken = Vec::new();
    for file in files(&["src", "tests", "benches", "examples", "fuzz"]) {
        for (number, line) in text(&file).lines().enumerate() {
            if is_wide_comment(line) {
                broken.push(format!("{file}:{}: {line}", number + 1));
            }
        }
    }
    assert_none(&broken);
}

#[test]
fn every_example_stands_in_the_readme() {
    let readme = text("README.md");
    for entry in fs::read_dir(root().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(
            readme.contains(name),
            "the README does not name the example {name}"
        );
    }
}

/// The names in the first column of the tables below a heading, without their link, in order.
fn rows(page: &str, heading: &str) -> Vec<String> {
    let lines = page.lines().map(|line| line.trim_start_matches("//!"));
    let lines = lines.map(str::trim);
    let section = lines.skip_while(|line| *line != heading).skip(1);
    let section = section.take_while(|line| !line.starts_with("# "));
    let cells = section.filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let cells = cells.skip_while(|cell| *cell != "---");
    let names = cells.filter_map(|cell| cell.split('`').nth(1));
    names.map(str::to_owned).collect()
}

/// The setters of a builder.
fn setters(code: &str) -> BTreeSet<String> {
    let methods = code.split("pub fn ").skip(1);
    let setters = methods.filter_map(|method| {
        let (name, arguments) = method.split_once('(')?;
        let is_setter = arguments.trim_start().starts_with("mut self");
        is_setter.then(|| name.split('<').next().unwrap_or(name).to_owned())
    });
    setters.collect()
}

#[test]
fn the_page_on_settings_has_each_of_them_once() {
    let page = text("src/guide/settings.rs");
    for (heading, builder, least) in [
        ("# A writer's", "src/writer/builder.rs", 20),
        ("# A reader's", "src/reader/builder.rs", 16),
        ("# A caller's", "src/calls/caller/builder.rs", 7),
        ("# A responder's", "src/calls/responder/builder.rs", 15),
    ] {
        let (rows, setters) = (rows(&page, heading), setters(&text(builder)));
        assert!(setters.len() >= least, "{builder}: {setters:?}");
        let once: BTreeSet<_> = rows.iter().cloned().collect();
        assert_eq!(once.len(), rows.len(), "one is there twice: {rows:?}");
        assert_eq!(once, setters, "{heading}");
    }
}

/// The value that `name` has in some code, as the docs write it.
fn value_in_code(code: &str, name: &str) -> Option<String> {
    let start = format!("{name}: ");
    code.split(&start).skip(1).find_map(as_in_docs)
}

/// The value at the front of some code: `Duration::from_secs(1),` or `u32 = 6;`, say.
fn as_in_docs(code: &str) -> Option<String> {
    let value = code.split([',', ';']).next()?;
    let value = value.split(" = ").last()?;
    if value == "None" {
        return Some("never".to_owned());
    }
    for (unit, call) in [("s", "from_secs"), ("ms", "from_millis")] {
        let call = value.strip_prefix(&format!("Duration::{call}("));
        if let Some(number) = call {
            return Some(format!("{} {unit}", number.strip_suffix(')')?));
        }
    }
    let factors = value.split(" * ").map(|factor| factor.replace('_', ""));
    let factors: Result<Vec<u64>, _> = factors.map(|factor| factor.parse()).collect();
    let number: u64 = factors.ok()?.iter().product();
    if number % (1 << 20) == 0 {
        return Some(format!("{} MiB", number >> 20));
    }
    Some(match (number / 1000, number % 1000) {
        (0, rest) => rest.to_string(),
        (thousands, rest) => format!("{thousands},{rest:03}"),
    })
}

/// Where the code has what a row of the table of times and bounds is about.
const TIMES_AND_BOUNDS: &[(&str, &str, &str)] = &[
    ("the longest message", WRITER, "max_message_len"),
    ("the longest message", READER, "max_message_len"),
    ("messages that wait", WRITER, "max_queued_messages"),
    ("their bytes", WRITER, "max_queued_bytes"),
    ("a connect under way", WRITER, "connect_timeout"),
    ("first wait", WRITER, "backoff_min"),
    ("longest wait", WRITER, "backoff_max"),
    ("least wait after a loss", TIMING, "AFTER_LOSS"),
    ("a connection that has lived", TIMING, "PROVEN_AFTER"),
    ("write timeout", WRITER, "WRITE_TIMEOUT"),
    ("how often the write timeout", TIMING, "MOST_DOUBLINGS"),
    ("`00` after so much silence", WRITER, "keepalive"),
    (
        "connections in a row",
        "src/writer/queue/outbox.rs",
        "MOST_REFUSALS",
    ),
    (
        "repeats of a receipt",
        "src/writer/ack_tracker.rs",
        "MOST_REPEATS",
    ),
    ("idle timeout", READER, "IDLE_TIMEOUT"),
    ("least rate", READER, "min_receive_rate"),
    ("connections at once", READER, "max_connections"),
    ("farewell", TURN, "FAREWELL"),
    ("time until the word", TURN, "MOST_UNHEEDED"),
    ("bytes until it does", TURN, "MOST_UNHEEDED_BYTES"),
];
const WRITER: &str = "src/writer/builder.rs";
const READER: &str = "src/reader/builder.rs";
const TIMING: &str = "src/writer/state/timing.rs";
const TURN: &str = "src/reader/threads/turn.rs";

#[test]
fn the_page_on_the_wire_has_the_times_and_bounds_of_the_code() {
    let page = text("src/guide/wire.rs");
    let table = page.split("//! # Times and bounds\n").nth(1).unwrap();
    let rows: Vec<Vec<&str>> = table
        .lines()
        .skip_while(|line| !line.starts_with("//! | ---"))
        .skip(1)
        .take_while(|line| line.starts_with("//! | "))
        .map(|line| line.split(" | ").collect())
        .collect();
    for row in &rows {
        let [_, _, what, value, _] = row[..] else {
            panic!("{row:?}");
        };
        let places = TIMES_AND_BOUNDS
            .iter()
            .filter(|(start, ..)| what.starts_with(start));
        let mut is_checked = false;
        for (_, file, name) in places {
            let found = value_in_code(&text(file), name);
            assert_eq!(found.as_deref(), Some(value), "{what}: {file}, {name}");
            is_checked = true;
        }
        assert!(is_checked, "where is it in the code: {what}");
    }
    for (start, ..) in TIMES_AND_BOUNDS {
        let there = rows.iter().filter(|row| row[2].starts_with(start)).count();
        assert_eq!(there, 1, "{start}");
    }
}

/// The lines of a table of Cargo.toml, without comments.
fn cargo_table(manifest: &str, name: &str) -> Vec<String> {
    let lines = manifest.lines().skip_while(|line| *line != name).skip(1);
    let lines = lines.take_while(|line| !line.starts_with('['));
    let lines = lines.filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(str::to_owned).collect()
}

#[test]
fn the_table_of_features_has_each_of_them_once_and_ci_builds_each() {
    let table = cargo_table(&text("Cargo.toml"), "[features]");
    let (mut features, mut defaults) = (BTreeSet::new(), BTreeSet::new());
    for (name, brings) in table.iter().filter_map(|line| line.split_once(" = [")) {
        if name == "default" {
            let brings = brings.trim_end_matches(']').split(',');
            defaults.extend(brings.map(|feature| feature.trim().trim_matches('"').to_owned()));
        } else {
            features.insert(name.to_owned());
        }
    }
    assert!(features.len() >= 6, "{features:?}");

    let page = text("src/lib.rs");
    let rows = rows(&page, "# Features");
    assert_eq!(
        rows.iter().cloned().collect::<BTreeSet<_>>(),
        features,
        "Cargo.toml has others"
    );
    assert_eq!(rows.len(), features.len(), "one is there twice: {rows:?}");
    for feature in &features {
        let says_default = page.contains(&format!("| `{feature}`, on by default |"));
        assert_eq!(says_default, defaults.contains(feature), "{feature}");
    }

    let script = text(".ci/run");
    let built = script.split("for features in ").nth(1).unwrap();
    let built = built.split(';').next().unwrap().split(' ').skip(1);
    assert_eq!(
        built.map(str::to_owned).collect::<BTreeSet<_>>(),
        features,
        ".ci/run builds others alone"
    );
}

/// Where the README's links lead, without those to the web.
fn links(readme: &str) -> BTreeSet<String> {
    let links = readme.split("](").skip(1);
    let links = links.filter_map(|rest| rest.split([')', '#']).next());
    let links = links.filter(|link| !link.is_empty() && !link.contains("://"));
    links.map(str::to_owned).collect()
}

#[test]
fn the_readme_is_short_and_leads_to_every_page() {
    let readme = text("README.md");
    let lines = readme.lines().count();
    assert!(
        lines <= 200,
        "it has {lines} lines: move something to the guide"
    );
    let links = links(&readme);
    let mut broken = Vec::new();
    for link in &links {
        if !root().join(link).exists() {
            broken.push(format!("the README leads to {link}, which is not there"));
        }
    }
    let list = text("src/guide/mod.rs");
    for page in files(&["src/guide"]) {
        let name = page.rsplit('/').next().unwrap().trim_end_matches(".rs");
        if name != "mod" && !links.contains(&page) {
            broken.push(format!("the README does not lead to {page}"));
        }
        if name != "mod" && !list.contains(&format!("[`{name}`]")) {
            broken.push(format!("the guide's list does not have {name}"));
        }
    }
    assert_none(&broken);
}

/// Whether a block of code in a page is left out of the tests, by what stands behind its backticks.
fn is_left_out(line: &str) -> bool {
    let line = line.trim_start().trim_start_matches(['/', '!']).trim();
    let kind = line.strip_prefix("```");
    kind.is_some_and(|kind| kind.split(',').any(|word| word == "ignore"))
}

#[test]
fn every_snippet_is_compiled() {
    let mut broken = Vec::new();
    let mut pages = files(&["src"]);
    pages.push("README.md".to_owned());
    for page in pages {
        for (number, line) in text(&page).lines().enumerate() {
            if is_left_out(line) {
                broken.push(format!("{page}:{} is not compiled", number + 1));
            }
        }
    }
    assert_none(&broken);
}

/// One test asserts of each public type that threads may share it.
#[test]
fn no_public_type_is_left_out_of_the_test_of_threads() {
    let tests = text("tests/it/types.rs");
    let mut broken = Vec::new();
    for (file, source) in library() {
        for name in source.types {
            let is_there = [">", "<"]
                .iter()
                .any(|end| tests.contains(&format!("::{name}{end}")));
            if !is_there {
                broken.push(format!("{name} of {file}"));
            }
        }
    }
    assert_none(&broken);
}

/// The files that a picture shows, which is a tree: a folder ends with `/`, and what lies in it
/// stands further to the right. Words behind two blanks explain.
fn drawn(picture: &str) -> BTreeSet<String> {
    let mut files = BTreeSet::new();
    let mut folders: Vec<(usize, &str)> = Vec::new();
    for line in picture.lines() {
        let depth = line.len() - line.trim_start().len();
        folders.retain(|(above, _)| *above < depth);
        let entries = line.trim_start().split("  ").next().unwrap_or_default();
        for entry in entries.split(' ').filter(|entry| !entry.is_empty()) {
            if let Some(folder) = entry.strip_suffix('/') {
                folders.push((depth, folder));
            } else {
                let folders = folders.iter().map(|(_, folder)| *folder);
                files.insert(folders.chain([entry]).collect::<Vec<_>>().join("/"));
            }
        }
    }
    files
}

#[test]
fn the_picture_of_the_architecture_is_the_tree() {
    let page = text("src/guide/architecture.rs");
    let section = page
        .split("//! # Files")
        .nth(1)
        .expect("a section on files");
    let picture = section.split("//! ```").nth(1).expect("a picture there");
    let lines = picture.lines().skip(1);
    let lines = lines.map(|line| {
        line.trim_start_matches("//!")
            .strip_prefix(' ')
            .unwrap_or("")
    });
    let drawn = drawn(&lines.collect::<Vec<_>>().join("\n"));
    let there: BTreeSet<_> = library().into_keys().collect();
    let missing = there
        .difference(&drawn)
        .map(|file| format!("the picture lacks {file}"));
    let gone = drawn
        .difference(&there)
        .map(|file| format!("there is no {file}"));
    assert_none(&missing.chain(gone).collect::<Vec<_>>());
}

/// The names of all tests.
fn tests() -> BTreeSet<String> {
    let mut tests = BTreeSet::new();
    for file in files(&["tests", "src"]) {
        tests.extend(tests_in(&text(&file)));
    }
    tests
}

fn tests_in(text: &str) -> Vec<String> {
    let after_mark = text.split("#[test]\n").skip(1);
    let name = |rest: &str| {
        let function = rest
            .lines()
            .find_map(|line| line.trim().strip_prefix("fn "));
        let name = function.and_then(|function| function.split('(').next());
        name.map(str::to_owned)
    };
    after_mark.filter_map(name).collect()
}

/// What of these names is no test.
fn missing(names: &str, tests: &BTreeSet<String>) -> Vec<String> {
    let names = names.split(',').map(|name| name.trim().trim_matches('`'));
    let missing = names.filter(|name| !tests.contains(*name));
    missing
        .map(|name| format!("there is no test {name:?}"))
        .collect()
}

/// The pages on delivery, on all promises and on streams say of each row which tests show it.
#[test]
fn every_row_of_a_table_of_promises_names_its_tests() {
    let tests = tests();
    let mut broken = Vec::new();
    for (page, least) in [
        ("delivery", 10),
        ("promises", 60),
        ("streams", 13),
        ("calls", 20),
    ] {
        let mut count = 0;
        let mut is_table = false;
        for line in text(format!("src/guide/{page}.rs")).lines() {
            let Some(row) = line.strip_prefix("//! | ") else {
                is_table = false;
                continue;
            };
            let cells: Vec<_> = row.trim_end_matches(" |").split(" | ").collect();
            let last = cells[cells.len() - 1];
            if last == "shown by the tests" {
                is_table = true;
            } else if is_table && last != "---" {
                count += 1;
                broken.extend(missing(last, &tests));
            }
        }
        assert!(count >= least, "{page} has {count} rows");
    }
    assert_none(&broken);
}

/// The items of a list below a heading, each in one line.
fn items(text: &str, heading: &str) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    let lines = text
        .lines()
        .map(|line| line.trim_start_matches("//!").trim());
    for line in lines.skip_while(|line| *line != heading).skip(1) {
        if line.starts_with('#') {
            break;
        }
        if let Some(item) = line.strip_prefix("* ").or_else(|| line.strip_prefix("- ")) {
            items.push(item.to_owned());
        } else if line.is_empty() {
            // What comes behind the list is none of its last item's.
            if !items.is_empty() {
                break;
            }
        } else if let Some(item) = items.last_mut() {
            item.push(' ');
            item.push_str(line);
        }
    }
    items
}

/// The front page and the README name them in a comment, which does not disturb.
#[test]
fn every_promise_names_its_tests() {
    let tests = tests();
    let mut broken = Vec::new();
    for (page, heading, least) in [
        ("src/lib.rs", "# What is guaranteed", 6),
        ("README.md", "## What is promised", 8),
    ] {
        let promises = items(&text(page), heading);
        assert!(promises.len() >= least, "{page}: {promises:#?}");
        for promise in promises {
            let comment = promise.split("<!-- shown by:").nth(1);
            match comment.and_then(|comment| comment.strip_suffix("-->")) {
                Some(names) => broken.extend(missing(names, &tests)),
                None => broken.push(format!("{page} names no test: {promise}")),
            }
        }
    }
    assert_none(&broken);
}

/// A script that leaves a test out must not go on doing so under a name that has changed.
#[test]
fn every_test_that_a_script_leaves_out_is_there() {
    let tests = tests();
    let script = text(".ci/sanitizers");
    let skipped = script.split("--skip ").skip(1);
    let names = skipped.filter_map(|rest| rest.split([' ', ')', '\n']).next());
    let names: Vec<_> = names.filter_map(|name| name.rsplit("::").next()).collect();
    assert!(names.len() > 5, "{names:?}");
    assert_none(&missing(&names.join(","), &tests));
}

/// A crate of these files, of which the first is its root.
fn crate_of(files: &[(&str, &str)]) -> Sources {
    let text = |name: &str| {
        let file = files.iter().find(|(file, _)| *file == name);
        file.map(|(_, text)| (*text).to_owned())
    };
    sources::sources(files[0].0, text)
}

fn imported<'a>(sources: &'a Sources, file: &str) -> Vec<&'a str> {
    sources[file].imports.keys().map(String::as_str).collect()
}

#[test]
fn what_stands_behind_a_test_item_is_seen() {
    let behind = "fn unfinished() { todo!() }\nuse super::b::Thing;\n";
    let filler = "/// A line.\nconst X: u8 = 1;\n".repeat(100);
    for test_item in [
        "#[cfg(test)]\nuse super::c::Helper;\n",
        "#[cfg(test)]\nmod simulated;\n",
        "#[cfg(all(test, unix))]\nmod tests { use super::super::c::Helper; fn f() { unsafe {} } }\n",
        "#[test]\nfn one() { crate::c::help(); dbg!(1); }\n",
        "struct S { #[cfg(test)] c: crate::c::Helper, b: u8 }\n",
        "enum E { #[cfg(test)] C(crate::c::Helper), B }\n",
        "impl S { #[cfg(test)] fn c() -> crate::c::Helper { dbg!(2) } fn b() {} }\n",
        "fn f() { #[cfg(test)] crate::c::help(); match 1 { #[cfg(test)] 2 => crate::c::help(), _ => () } }\n",
        "fn f() -> S { S { #[cfg(test)] c: crate::c::help(), b: 1 } }\n",
        "#[cfg(any(test, fuzzing))]\nmod fuzzing { pub use crate::c::Helper; fn f() { crate::c::help() } }\n",
    ] {
        let a = format!("//! A.\n\n{test_item}{filler}{behind}");
        let sources = crate_of(&[
            ("lib.rs", "mod a; mod b; mod c;"),
            ("a.rs", &a),
            ("b.rs", "pub struct Thing;"),
            ("c.rs", "pub struct Helper; pub fn help() {}"),
        ]);
        assert_eq!(imported(&sources, "a.rs"), ["b.rs"], "{test_item}");
        let macros = sources["a.rs"].macros.iter().map(String::as_str);
        assert_eq!(macros.collect::<Vec<_>>(), ["todo"], "{test_item}");
        assert!(!sources["a.rs"].is_unsafe, "{test_item}");
    }
}

#[test]
fn what_is_compiled_without_tests_is_seen() {
    for item in [
        "#[cfg(not(test))]\nuse super::b::Thing;",
        "#[cfg(unix)]\nuse super::b::Thing;",
        "#[cfg_attr(test, expect(dead_code))]\nfn f() -> super::b::Thing { loop {} }",
    ] {
        let a = format!("//! A.\n{item}\nfn g() {{ unsafe {{}} }}");
        let sources = crate_of(&[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", &a),
            ("b.rs", "pub struct Thing;"),
        ]);
        assert_eq!(imported(&sources, "a.rs"), ["b.rs"], "{item}");
        assert!(sources["a.rs"].is_unsafe);
    }
}

#[test]
fn every_way_to_name_an_item_is_an_import_of_its_file() {
    for named in [
        "use crate::b::inner::Thing;",
        "use super::b::{self, inner::{Other, Thing}};",
        "use super::b::inner; fn f() { inner::thing(); }",
        "use crate::b::inner::Thing as Renamed;",
        "fn f() { crate::b::inner::thing(); }",
        "fn f() { use super::b::inner::thing; thing(); }",
        "fn f() { println!(\"{}\", crate::b::inner::thing()); }",
        "fn f(thing: &super::b::Thing) {}",
        "use super::b::inner::*;",
        "mod d { fn f() { super::super::b::inner::thing(); } }",
        "mod d { use crate::b::Thing; }",
        "use crate::Thing;",
        "impl From<crate::b::Renamed> for u8 {}",
    ] {
        let sources = crate_of(&[
            ("lib.rs", "mod a; mod b; pub use b::Thing;"),
            ("a.rs", named),
            (
                "b/mod.rs",
                "mod inner; pub use inner::{Thing, Thing as Renamed};",
            ),
            ("b/inner.rs", "pub struct Thing; pub fn thing() {}"),
        ]);
        assert_eq!(imported(&sources, "a.rs"), ["b/inner.rs"], "{named}");
        assert_eq!(imported(&sources, "lib.rs"), [""; 0], "{named}");
        assert_eq!(imported(&sources, "b/mod.rs"), [""; 0], "{named}");
    }
}

#[test]
fn what_names_no_item_of_another_file_is_no_import() {
    for named in [
        "use std::thread::{self, JoinHandle}; fn f() { thread::park() }",
        "/// See [`crate::b::Thing`].\nstruct S;",
        "// crate::b::Thing\nconst S: &str = \"crate::b::Thing\";",
        "#[doc = \"crate::b::Thing\"]\nfn b() { self.b.thing(); let b = 1; b + b; }",
        "mod d { pub struct Thing; } use d::Thing;",
        "pub use crate::b::Thing;",
    ] {
        let sources = crate_of(&[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", named),
            ("b.rs", "pub struct Thing;"),
        ]);
        assert_eq!(imported(&sources, "a.rs"), [""; 0], "{named}");
    }
}

#[test]
fn a_name_that_a_file_exports_and_uses_is_an_import() {
    let sources = crate_of(&[
        ("lib.rs", "mod a;"),
        (
            "a/mod.rs",
            "mod b; pub use b::Thing; fn f() -> Thing { Thing }",
        ),
        ("a/b.rs", "use super::f; pub struct Thing;"),
    ]);
    assert_eq!(imported(&sources, "a/mod.rs"), ["a/b.rs"]);
    assert_eq!(
        circle(&sources, "a/b.rs"),
        Some(vec!["a/b.rs", "a/mod.rs", "a/b.rs"])
    );
}

#[test]
fn names_of_other_crates_are_known_in_full() {
    let code = "use std::{fs, time::Instant}; pub use parking_lot::Mutex as Lock; \
                fn f() { fs::read(\"x\"); Instant::now(); std::thread::sleep(d); }";
    let sources = crate_of(&[("lib.rs", code)]);
    for name in [
        "std::fs::read",
        "std::time::Instant::now",
        "std::thread::sleep",
        "parking_lot::Mutex",
    ] {
        assert!(sources["lib.rs"].foreign.contains(name), "{name}");
    }
}

#[test]
fn circles_of_any_length_are_found() {
    let sources = crate_of(&[
        ("lib.rs", "mod a; mod b; mod c; mod d;"),
        ("a.rs", "use crate::b::B; pub struct A;"),
        ("b.rs", "use crate::c::C; pub struct B;"),
        ("c.rs", "use crate::a::A; use crate::d::D; pub struct C;"),
        ("d.rs", "pub struct D;"),
    ]);
    let found = circle(&sources, "a.rs");
    assert_eq!(found, Some(vec!["a.rs", "b.rs", "c.rs", "a.rs"]));
    assert_eq!(circle(&sources, "d.rs"), None);
}

#[test]
fn two_files_meet_in_the_innermost_folder_of_both() {
    for (file, from, folder, of) in [
        ("a/b.rs", "a/c/d.rs", "a", ["b", "c"]),
        ("a/c/e.rs", "a/c/mod.rs", "a/c", ["e", "mod"]),
        ("a/c/e.rs", "a/mod.rs", "a", ["c", "mod"]),
        ("a/b.rs", "ab/c.rs", "", ["a", "ab"]),
        (
            "bin/tool/x/y.rs",
            "bin/tool/say.rs",
            "bin/tool",
            ["x", "say"],
        ),
    ] {
        assert_eq!(rooms(file, from), (folder, of), "{file} {from}");
    }
}

#[test]
fn only_prose_is_too_wide() {
    let wide = "word ".repeat(25);
    assert!(is_wide_comment(&format!("    /// {wide}")));
    assert!(is_wide_comment(&format!("//! {wide}")));
    for fine in [
        "// Short.".to_owned(),
        wide.clone(),
        format!("/// | {wide} |"),
        format!("/// [{wide}](x)"),
        format!("//! {}", "x".repeat(100)),
    ] {
        assert!(!is_wide_comment(&fine), "{fine}");
    }
}

#[test]
fn the_first_column_of_a_table_is_read_below_its_heading() {
    let page = "//! # A\n//! | `no` | |\n//! # B\n//! | what | is |\n//! | --- | --- |\n\
                //! | [`one`](crate::one) | 1 |\n//! | `two`, too | `three` |\n//! # C\n//! | `no` | |\n";
    assert_eq!(rows(page, "# B"), ["one", "two"]);
    let code = "pub fn one(mut self, a: u8) {}\npub fn two<F>(\n    mut self,\n    f: F,\n) {}\npub fn no(&self) {}";
    let setters = setters(code);
    assert_eq!(setters.iter().collect::<Vec<_>>(), ["one", "two"]);
}

#[test]
fn a_block_that_is_left_out_is_seen() {
    assert!(is_left_out("//! ```ignore"));
    assert!(is_left_out("    /// ```rust,ignore"));
    for fine in ["//! ```", "```no_run", "//! ```text", "//! to ignore it"] {
        assert!(!is_left_out(fine), "{fine}");
    }
    let links = links("[a](b.md#c) [d](https://e) [f](#g)");
    assert_eq!(links.iter().collect::<Vec<_>>(), ["b.md"]);
}

#[test]
fn a_picture_is_read_as_a_tree() {
    let picture = "lib.rs  the page
a/  the room
    mod.rs b.rs  what it has
    c/
       d.rs
e.rs
";
    let drawn = drawn(picture);
    let drawn: Vec<_> = drawn.iter().map(String::as_str).collect();
    assert_eq!(drawn, ["a/b.rs", "a/c/d.rs", "a/mod.rs", "e.rs", "lib.rs"]);
}

#[test]
fn tests_are_found_by_their_mark_whatever_stands_in_between() {
    let code = "#[test]\nfn one() {}\nfn no_test() {}\n    #[test]\n    #[expect(dead_code)]\n    \
                fn two(\n        a: u8,\n    ) {}\n";
    assert_eq!(tests_in(code), ["one", "two"]);
}

#[test]
fn a_list_is_read_item_by_item() {
    let page = "# Before\n* no\n# List\n\n* one\n  goes on\n* two\n\nBehind it.\n# After\n* no";
    assert_eq!(items(page, "# List"), ["one goes on", "two"]);
    let page = page
        .replace('\n', "\n//! ")
        .replace("# Before", "//! # Before");
    assert_eq!(items(&page, "# List"), ["one goes on", "two"]);
}
