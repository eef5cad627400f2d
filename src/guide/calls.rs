//! Calls and their answers: when to use them, what is promised, and what stands on the wire.
//!
//! With the feature `calls`: the module [`calls`](crate::calls).
//!
//! # Pipe, calls, or neither
//!
//! | what is to be done | use |
//! | --- | --- |
//! | log lines, metrics, events: many, one way, none may block the daemon | the pipe: a [`Writer`](crate::Writer) and a [`Reader`](crate::Reader) |
//! | what was sent must be stored, over restarts of either end | the pipe with [`AtLeastOnce`](crate::Delivery::AtLeastOnce): a call is never repeated by itself |
//! | to ask a running daemon: figures, versions, health | calls |
//! | to tell a daemon something once: change the log level, drain now | calls; `notify` where no answer is of use |
//! | much data as an answer, or a feed that follows changes | calls with several answers, [`call_many`](crate::calls::Caller::call_many) |
//! | clients that speak HTTP, gRPC or JSON-RPC already; typed interfaces from a description; other machines | neither: tonic, jsonrpsee, zbus |
//! | what only starts or stops a service | neither: systemd and its signals |
//!
//! Calls have a socket of their own. On a telemetry connection a question would wait behind
//! megabytes of messages, an answer could block, and a Go reader would take it for a message.
//!
//! # What is promised
//!
//! An error of a call says whether it may have been done:
//! [`may_have_been_done`](crate::calls::CallError::may_have_been_done). Nothing is ever sent a
//! second time by itself: who knows that a method can be repeated makes the call again.
//!
//! | when what happens | the caller gets | may it have been done | shown by the tests |
//! | --- | --- | --- | --- |
//! | nobody listens, in all the time that the call has | `NotConnected` | no | `where_nobody_listens_the_call_was_not_done` |
//! | the responder comes in time | the answer | it was | `a_responder_that_comes_in_time_is_found` |
//! | the responder was restarted between two calls | the answer, over a new connection; over TCP perhaps `Lost` | it was; unknown where it is lost | `a_responder_that_was_restarted_is_called_again_without_an_error` |
//! | the connection is lost after the call went out | `Lost` | unknown | `a_lost_connection_ends_every_open_call_as_unknown`, `nothing_is_sent_twice_after_a_loss` |
//! | the connection is lost while the call goes out, or before | `Lost` or a wait for the next one | as the error says | `whatever_happens_a_call_has_one_outcome_and_it_is_true` |
//! | the responder is killed while its handler runs | `Lost` | unknown | `a_killed_responder_leaves_its_callers_with_unknown` |
//! | the caller is killed, or drops its call | nobody is there | perhaps; the handler sees that it is cancelled | `the_handler_of_a_caller_that_has_gone_is_told`, `a_peer_that_calls_and_goes_at_once_is_known_to_have_gone`, `a_killed_caller_cancels_its_calls`, `a_dropped_iterator_cancels_its_call` |
//! | the sender of a notification ends behind it | nobody is there | it will be, unless its time is over | `a_notification_is_done_though_its_sender_has_gone` |
//! | the call's time is over | `Timeout` | unknown once it was sent; the handler sees it | `a_time_that_is_over_cancels_the_call_at_the_other_end`, `a_cancelled_call_is_told_by_a_word_though_its_time_is_not_over` |
//! | an answer comes when nobody waits any more | nothing; it is counted as `late` | it was | `a_second_answer_to_the_same_call_goes_nowhere` |
//! | the handler answers that the call failed | `Failed` | it was, as far as the handler says | `an_error_of_the_handler_comes_in_its_words` |
//! | the handler panics, or drops its handle | `Unanswered` | unknown | `a_handler_that_ends_without_an_answer_leaves_nobody_waiting` |
//! | the handler blocks | nothing yet; all other calls go on | it is being done | `a_handler_that_blocks_holds_up_no_call_of_any_connection`, `what_came_with_a_call_that_blocks_is_answered_meanwhile`, `answers_before_a_call_that_blocks_are_with_their_caller` |
//! | the responder stops | `Refused`: `Stopping`, while others are in hand, which are answered; then `Lost` | no; unknown where it is lost | `a_stop_answers_what_is_in_hand_and_refuses_new_calls_with_a_word` |
//! | the stop's time is over | `Lost` | unknown | `a_stop_whose_time_is_over_tells_how_many_calls_are_left` |
//! | the responder is not of the user that was expected | `NotConnected` | no | `a_responder_of_another_user_than_expected_is_called_by_nobody` |
//! | the peer may not call the method | `Refused`: `NotAllowed` | no | `what_is_not_allowed_does_not_come_to_the_handler`, `a_peer_of_whom_no_user_is_known_may_call_nothing_unless_allowed` |
//! | a bound of the responder is met | `Refused`: `Busy` | no | `a_call_above_the_responders_bounds_is_refused_with_a_word`, `calls_and_answers_without_bytes_hold_something_too` |
//! | a bound of the caller is met | `TooLarge`, `TooManyOpen`, `TooManyBytes` | no, unless it was an answer that found no room | `a_call_above_the_callers_bounds_is_not_sent`, `no_more_calls_are_open_than_may_be`, `answers_that_nobody_takes_hold_no_more_than_they_may` |
//! | an answer is longer than the responder may send | `Failed` | it was | `an_answer_above_the_responders_bound_fails_its_call_and_no_other` |
//! | an answer is longer than the caller takes | `Lost` | unknown | `an_answer_above_the_callers_bound_costs_the_connection` |
//! | the responder answers what was never asked | `Lost` for all open calls | unknown | `an_answer_to_no_call_costs_the_connection_and_answers_nothing` |
//! | a peer sends what is no call, half a call, or reads no answers | `Lost`: its connection is closed | unknown | `a_peer_that_sends_no_call_loses_its_connection_and_nobody_else_does`, `half_a_call_that_takes_too_long_costs_its_connection`, `half_calls_hold_no_more_than_all_calls_may`, `who_reads_no_refusals_and_calls_on_loses_the_connection`, `a_peer_that_reads_no_answers_is_not_read_from_and_loses_its_connection`, `a_time_is_over_also_where_there_is_always_something_to_do` |
//!
//! # What is not promised
//!
//! * A call whose caller has gone holds its part of the bounds as long as a handler keeps its
//!   [`Reply`](crate::calls::Reply): a handler that keeps them looks at
//!   [`is_cancelled`](crate::calls::Reply::is_cancelled).
//! * While all threads up to [`max_threads`](crate::calls::ResponderBuilder::max_threads) are in
//!   handlers, no call is read, and no peer's time is looked at. A peer that reads its answers
//!   slowly holds the threads of its calls.
//! * In a process that `fork` made, calls are errors, answers too, and all figures are 0
//!   (`every_call_in_a_forked_child_returns_at_once`).
//! * A call to a [`Reader`](crate::Reader)'s socket is a message there, and no answer comes. A
//!   [`Writer`](crate::Writer) at a responder's socket loses its connection each time. Nothing on
//!   the wire says which of the two listens: keep their paths apart.
//! * A client that closes its sending side has gone, and its calls are cancelled.
//! * A notification that the responder refuses is lost. Only its figure `refused` tells.
//!
//! # A call that may be made again
//!
//! The daemon, and a client that knows that to ask for figures changes nothing:
//!
//! ```
//! # #[cfg(feature = "calls")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::thread;
//! use std::time::{Duration, Instant};
//! use uds_ipc::calls::{CallError, Caller, Refusal, Responder};
//!
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("admin.sock");
//! let responder = Responder::builder(&path).bind()?.start(|call, reply| {
//!     let _ = match call.method() {
//!         "figures" => reply.send("received 7"),
//!         // A feed ends when its client goes, or the daemon stops.
//!         "ticks" => loop {
//!             if reply.is_stopping() || reply.send_part("tick").is_err() {
//!                 break reply.send("");
//!             }
//!             thread::sleep(Duration::from_millis(10));
//!         },
//!         other => reply.fail(format!("there is no method {other}")),
//!     };
//! })?;
//!
//! fn figures(caller: &Caller, timeout: Duration) -> Result<Vec<u8>, CallError> {
//!     let end = Instant::now() + timeout;
//!     loop {
//!         let left = end.saturating_duration_since(Instant::now());
//!         match caller.call("figures", "", left) {
//!             // Another process may take its place.
//!             Err(CallError::Lost { .. }) if !left.is_zero() => {}
//!             Err(CallError::Refused { refusal: Refusal::Stopping, .. }) if !left.is_zero() => {}
//!             // An answer, or no use.
//!             end => return end,
//!         }
//!     }
//! }
//!
//! let caller = Caller::new(&path)?;
//! assert_eq!(figures(&caller, Duration::from_secs(5))?, b"received 7");
//! // What is not known to be harmless is not repeated.
//! if let Err(error) = caller.call("drain", "", Duration::from_secs(5)) {
//!     assert!(error.may_have_been_done());
//!     assert_eq!(error.to_string(), "the call failed: there is no method drain");
//! }
//! let ticks = caller.call_many("ticks", "", Duration::MAX)?;
//! assert_eq!(ticks.take(3).count(), 3);
//! responder.shutdown(Duration::from_secs(5))?;
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "calls"))]
//! # fn main() {}
//! ```
//!
//! # In a service
//!
//! A service may have both sockets, each with a socket unit of its own; the units' names for them
//! tell the two apart:
//!
//! ```no_run
//! # #[cfg(all(unix, feature = "systemd", feature = "calls"))]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use uds_ipc::Reader;
//! use uds_ipc::calls::Responder;
//! use uds_ipc::systemd::Activation;
//!
//! // collector.socket says FileDescriptorName=telemetry, collector-admin.socket says admin.
//! let telemetry = Reader::builder("/run/collector/telemetry.sock")
//!     .activation(Activation::Named("telemetry".into()))
//!     .bind()?;
//! let admin = Responder::builder("/run/collector/admin.sock")
//!     .activation(Activation::Named("admin".into()))
//!     .bind()?;
//! # let _ = (telemetry, admin);
//! # Ok(())
//! # }
//! # #[cfg(not(all(unix, feature = "systemd", feature = "calls")))]
//! # fn main() {}
//! ```
//!
//! `examples/admin.rs` is such a collector: it answers with its figures and who is connected,
//! changes its log level, and drains: it takes no more, handles what was sent, answers with how
//! much that was, and ends. In `examples/systemd`, `collector-admin.socket` is the unit of its
//! second socket, and `collector-admin.conf` has `collector.service` take it. Where systemd holds
//! a socket, whoever connects while the service is away waits for its next start.
//!
//! # On the wire
//!
//! Frames as everywhere in this crate, in both directions: a length as a varint, then a Protocol
//! Buffers message. `calls.proto` in `src/calls` has the two messages, in
//! [proto3](https://protobuf.dev/programming-guides/proto3/), and all that a client must know:
#![doc = concat!("```proto\n", include_str!("../calls/calls.proto"), "```")]
//!
//! The tests `a_client_that_knows_only_the_proto_file_is_answered` and
//! `an_id_that_is_used_twice_is_a_lie` hold the crate to it.
//!
//! `call.py` and `respond.py` in `examples/clients/python` are both ends with Python's standard
//! library alone. They speak with `examples/ping.rs`, which calls or answers, and says how long
//! that takes:
//!
//! ```console
//! $ cargo run --release --features calls --example ping -- respond /tmp/ping.sock &
//! $ echo "ping hello" | python3 examples/clients/python/call.py /tmp/ping.sock
//! 1 = hello
//! ```
//!
//! # How fast it is
//!
//! `cargo bench --bench calls --features calls` measures it beside a raw socket, both ends in
//! processes of their own, 64 bytes each way. On a virtual machine with two processors, medians of
//! eleven rounds, in five runs each:
//!
//! | | the aim | measured |
//! | --- | --- | --- |
//! | one call at a time, p50, of a raw round trip's; the two ends on different processors | 1.3 | 1.17 to 1.22 (raw 42 to 46 µs, most of it the other processor's waking up) |
//! | likewise, where both ends share a processor, as the system has it beside other work | 1.3 | 1.37 to 1.39, so missed (raw 7.7 µs, a call 10.7 µs; p99 10 and 14 µs) |
//! | 64 open at once, made as batches, of the calls a second one at a time | 5 | 11 to 34 (560,000 to 1,030,000 a second) |
//! | 64 threads that call one at a time through one caller | | 118,000 to 165,000 calls a second: 1.4 and 8 times those of a single thread |
//! | an idle caller: memory in the responder, and in its own process | | 1.5 KiB and 6.7 KiB; no threads |
//! | a call beside 9,950 idle callers, p50 | | as without them |
//!
//! What a call costs more is above all work of the two programs: 1.8 µs, to encode and decode, to
//! keep what is open, to look at the clock. The seven system calls instead of four cost 0.3 µs (a
//! program in C that makes just these took 1.03 to 1.05 of the raw round trip). Threads of the
//! responder take turns, since one always waits while another is in a handler: with a single one it
//! would be 1.31 where both ends share a processor, and a handler that blocks would hold up all. A
//! socket that is armed for good instead of for each call saved a twentieth; it is not done, since
//! the end of a connection is then told once only, together with the bytes before it.
//!
//! ## Beside tonic and tarpc
//!
//! `benches/rivals`, a package of its own, measures calls beside a raw socket, tonic 0.14, and
//! tarpc 0.38 with bincode, all over a Unix socket: `cargo run --release` there. Each end is a
//! process of its own, and every call has a time that travels with it, except over the raw socket.
//! Here with 32 bytes each way, the medians of fourteen rounds in two runs, and in brackets where
//! the middle half of them lay, on a virtual machine with two processors that had other work all
//! the time. With 1 KiB each way a batch made 6 times as many calls as one at a time, and tonic
//! took 4.4 times a raw round trip's time; one at a time the others were as here.
//!
//! | | one at a time: p50, of a raw round trip's | 64 open at once: calls a second, of `Caller`'s one at a time | processor time of one of them, likewise | memory of an idle one of 10,000, at the answering end and the calling end |
//! | --- | --- | --- | --- | --- |
//! | raw socket, with a thread at each end | 1 | 95 (80 to 147), written together | 0.01 | 21 KiB, a thread; 0.1 KiB |
//! | `Caller` | 1.4 (1.3 to 1.4) | a batch: 11 (8 to 16); 64 threads: 1.1 (0.7 to 1.2) | 0.09; 1.3 | 1.5 KiB; 6.7 KiB |
//! | `AsyncCaller`, tokio with one thread | 1.9 (1.8 to 2.0) | 1.4 (1.0 to 1.9) | 0.9 | 1.4 KiB; 17 KiB, a thread |
//! | `AsyncCaller`, tokio with two | 1.9 (1.9 to 2.0) | 2.4 (1.8 to 3.0) | 0.5 | |
//! | tarpc, tokio with one thread | 2.0 (1.9 to 2.0) | 4.4 (3.4 to 7.3) | 0.2 | 20 KiB; 21 KiB |
//! | tarpc, tokio with two | 3.9 (3.7 to 4.0) | 2.0 (1.5 to 2.7) | 0.6 | |
//! | tonic, tokio with one thread | 3.7 (3.6 to 3.8) | 0.9 (0.5 to 1.1) | 1.1 | 27 KiB; 32 KiB |
//! | tonic, tokio with two | 5.2 (4.9 to 5.5) | 0.5 (0.4 to 0.8) | 1.9 | |
//!
//! So tarpc on a runtime of one thread is the faster for many tasks that call at once: it reads
//! the answers on the thread that runs the tasks, and writes the calls of all of them together. An
//! [`AsyncCaller`](crate::calls::AsyncCaller) works with any runtime, and for that has a thread of
//! its own that reads, and wakes the runtime; each call is written by itself. Threads that call at
//! once through one caller are woken one by one, as the threads of any client are; who has many
//! calls at hand makes a batch of them.
