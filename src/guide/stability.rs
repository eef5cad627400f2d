//! What may change from one version to the next, and what may not.
//!
//! Versions follow [Semantic Versioning](https://semver.org), as Cargo reads them: before 1.0 the
//! second number stands for the first. So `uds-ipc = "0.1"` gets 0.1.9, and never 0.2.
//!
//! # What is promised
//!
//! Within one such line nothing of this changes in a way that breaks what was built on it. What is
//! new may be added.
//!
//! | what | what counts as a break |
//! | --- | --- |
//! | the library | what the compiler would refuse, for all public items and features, by the rules of Cargo's [SemVer page](https://doc.rust-lang.org/cargo/reference/semver.html). Enums and structs that are marked non-exhaustive may get more |
//! | what is promised of messages | a weaker [promise](super::promises) |
//! | defaults of [settings](super::settings) | a bound that becomes smaller; anything that lets in whom it kept out |
//! | the wire | nothing of [the wire](super::wire) changes within a line, and ends of different lines go on talking to each other: what is new on the wire is only sent to a peer that has asked for it |
//! | figures | the name, the unit, the labels or the meaning of one on [Prometheus](crate::metrics::Exposition), in the `metrics` crate, or as a field |
//! | events, errors, figures and settings as JSON (feature `serde`) | a field or a variant that goes, or changes its type. More may come: ignore those that you do not know |
//! | the tool | a command, an option, an exit code, or a field of `--json` and of `--figures json`, that goes or changes its meaning |
//! | features | one that goes, or no longer brings what it did |
//!
//! # What is not promised
//!
//! * The texts of events, errors, reports and of `systemctl status`, and what `Debug` prints: they
//!   are for people. Match on types, not on texts.
//! * What the tool prints for people: its tables, its screen, its help.
//! * Speeds, sizes of types, numbers of threads and of system calls.
//! * When exactly a connection is made, closed or lost; how messages are gathered into batches.
//! * The memory that [`crash_proof`](super::crash_proof) passes: ends of different lines may not
//!   understand each other's. Then all is as without, and the event says so.
//! * What is marked `#[doc(hidden)]`, and what is there only under `cfg(fuzzing)` and the like.
//! * The relay, the examples and the benchmarks, which are programs to be copied.
//!
//! # The compiler
//!
//! `rust-version` in `Cargo.toml` is the oldest compiler that builds the library and the tool, and
//! CI builds them with it. It may be raised in a new line only, never to a compiler that is less
//! than half a year old, and the change log says so. Tests may need a newer one.
//!
//! # Other crates in the public face
//!
//! A new line of one of these is a new line of this crate, since their types or traits are part of
//! its own: `bytes` (a message may be a `Bytes`), and behind features `serde`, `metrics`,
//! `futures-core`, `futures-sink` and `tokio-util`. All other dependencies may change at any time.
//!
//! # How it is kept
//!
//! A test looks at the public types (`tests/it/types.rs`), another one reads the vectors of the
//! wire (`examples/clients/vectors.json`) with each end and each language, others hold the names of
//! figures, the fields of JSON, and the tool's options and exit codes.
