//! With what a daemon already has: log libraries, Prometheus and the `metrics` crate, encoders.
//!
//! | you want | take |
//! | --- | --- |
//! | `tracing`, `slog`, `env_logger`, the output of a child | [`writer.lines()`](crate::Writer::lines): [below](#logs) |
//! | the last words of a program that panics | [`writer.flush_on_panic(timeout)`](crate::Writer::flush_on_panic) |
//! | details that give way when the queue fills, and a line that says so | [`writer.shed_at(0.8)`](crate::Writer::shed_at), [`drop_notice`](crate::WriterBuilder::drop_notice) |
//! | prost, serde or another encoder | `writer.try_send_with(\|buffer\| …)`: [below](#encoders) |
//! | a page for Prometheus, or the `metrics` crate (0.24) | [`Exposition`](crate::metrics::Exposition), or `publisher` of a writer or a reader, feature `metrics`: [below](#figures) |
//! | tokio or another runtime | `AsyncWriter`, `MessageSink`, and [batches](crate::BoundReader::start_batches) as a `Stream`, feature `async`: [a program](super::production#in-async-code); with `calls` an `AsyncCaller` |
//! | a receiver that confirms in a loop, or later | [`start_batches`](crate::BoundReader::start_batches) |
//! | a handler of whole batches, to write them on together | [`start_batch_handler`](crate::BoundReader::start_batch_handler) |
//! | the frames over a stream of an async runtime | [`FrameCodec`](crate::FrameCodec), with tokio-util by the feature `tokio-util`: [below](#streams-of-your-own) |
//!
//! # Logs
//!
//! **First: how the program ends.** A subscriber or logger that is set for the whole program is
//! never dropped, nor is the writer in it, so that nobody sends what is queued when `main` returns.
//! SIGTERM and `exit` end a program without a drop too: [catch the
//! signal](super::production#a-writer-for-the-whole-program), and let `main` return.
//! A program that logs 1,000 lines and ends before its collector is there loses all of them;
//! with a [guard](crate::Writer::shutdown_guard) that waits for the collector it loses none (what
//! is left when the guard's time is over is lost; the event
//! [`Stopped`](crate::event::WriterEvent::Stopped) and the figure `failed.left` say how much), and
//! with [`flush_on_panic`](crate::Writer::flush_on_panic) neither does one that panics, also with
//! `panic = "abort"`. (`a_guard_sends_what_a_global_subscriber_would_keep` and
//! `the_last_words_of_a_program_that_panics_arrive` in `tests/process/end_of_program.rs`.)
//!
//! With `tracing-subscriber`, each line without its newline:
//!
//! ```
//! use std::time::Duration;
//! use uds_ipc::Writer;
//!
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("telemetry.sock");
//! # let reader = uds_ipc::Reader::builder(&path).bind()?.start(|_| ())?;
//! let writer = Writer::start(&path)?;
//! let _guard = writer.shutdown_guard(Duration::from_secs(2));
//! writer.flush_on_panic(Duration::from_secs(2));
//!
//! let lines = writer.clone();
//! tracing_subscriber::fmt()
//!     .json()
//!     .with_writer(move || lines.lines())
//!     .init();
//! tracing::info!(port = 80, "listening");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! There are two ways in, and both never block, never fail, and count what is refused:
//!
//! | | one message is | for |
//! | --- | --- | --- |
//! | [`Writer`](crate::Writer) itself, as an `io::Write` (a clone, `&writer`, or `Arc<Writer>` as a `MakeWriter`) | one write, byte for byte | records of several lines (`pretty`), binary records |
//! | [`writer.lines()`](crate::Writer::lines) | one line, without its newline | text, however it is cut: slog, `writeln!`, the output of a child |
//!
//! ```
//! # let writer = uds_ipc::Writer::start("/tmp/nobody-is-there.sock")?;
//! // env_logger:
//! env_logger::Builder::new()
//!     .target(env_logger::Target::Pipe(Box::new(writer.lines())))
//!     .init();
//!
//! // slog:
//! use slog::Drain;
//! let drain = slog_json::Json::default(writer.lines());
//! let logger = slog::Logger::root(std::sync::Mutex::new(drain).fuse(), slog::o!());
//!
//! // What a child process prints:
//! use std::process::{Command, Stdio};
//! let mut child = Command::new("echo").arg("hello").stdout(Stdio::piped()).spawn()?;
//! std::io::copy(&mut child.stdout.take().expect("it is piped"), &mut writer.lines())?;
//! # child.wait()?;
//! # let _ = writer.shutdown(std::time::Duration::ZERO)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **When the queue fills**, lines are dropped and counted in `dropped.full`: the default has room
//! for 10,000, so raise [`max_queued_messages`](crate::WriterBuilder::max_queued_messages) to what
//! a burst brings: a burst of 100,000 lines needs as much. No line waits for room: a log call that
//! does would hold up the program. Where that is wanted, an `io::Write` of your own calls
//! [`send_timeout`](crate::Writer::send_timeout). Better let details give way: a handle of
//! [`shed_at`](crate::Writer::shed_at) refuses from a share of the queue on, and the rest is left
//! to what matters. [`drop_notice`](crate::WriterBuilder::drop_notice) sends a message of your own
//! making that says how much was dropped.
//!
//! ```
//! use tracing_subscriber::fmt::writer::MakeWriterExt;
//! use uds_ipc::Writer;
//!
//! let writer = Writer::builder("/tmp/nobody-is-there.sock")
//!     .drop_notice(|notice| format!("{{\"level\":\"WARN\",\"message\":\"{notice}\"}}"))
//!     .start()?;
//! let (important, details) = (writer.clone(), writer.shed_at(0.8));
//! let important = (move || important.lines()).with_max_level(tracing::Level::WARN);
//! let subscriber = tracing_subscriber::fmt()
//!     .json()
//!     .with_writer(important.or_else(move || details.lines()))
//!     .finish();
//! # drop(subscriber);
//! # let _ = writer.shutdown(std::time::Duration::ZERO)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What a writer or a reader tells its observer may be logged to the same writer: there are events
//! for transitions only, none for a message. A subscriber that calls the writer while it formats is
//! no trouble either.
//!
//! # Figures
//!
//! An [`Exposition`](crate::metrics::Exposition) is a page for Prometheus, without another crate.
//! Whatever HTTP server a program has answers with it. One that has none needs a thread; the
//! example `collector` does the same, and `examples/prometheus` has what scrapes it, and alarms:
//!
//! ```
//! use std::io::{BufRead, BufReader, Write};
//! use std::net::TcpListener;
//! use std::time::Duration;
//! use uds_ipc::metrics::Exposition;
//! # let writer = uds_ipc::Writer::start("/tmp/nobody-is-there.sock")?;
//!
//! let listener = TcpListener::bind("127.0.0.1:0")?; // a port of your choice
//! # let address = listener.local_addr()?;
//! let counted = writer.clone();
//! std::thread::spawn(move || {
//!     for stream in listener.incoming().flatten() {
//!         // Who asks nothing holds up nobody for longer.
//!         let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
//!         let _ = stream.set_write_timeout(Some(Duration::from_secs(2)));
//!         // The request ends with an empty line.
//!         let lines = BufReader::new(&stream).lines().map_while(Result::ok);
//!         lines.take_while(|line| !line.is_empty()).for_each(drop);
//!         let mut page = Exposition::default();
//!         page.writer("logs", &counted.metrics());
//!         let kind = Exposition::CONTENT_TYPE;
//!         let _ = write!(&stream, "HTTP/1.0 200 OK\r\nContent-Type: {kind}\r\n\r\n{page}");
//!     }
//! });
//! # use std::io::Read;
//! # let mut scrape = std::net::TcpStream::connect(address)?;
//! # write!(scrape, "GET /metrics HTTP/1.1\r\n\r\n")?;
//! # let mut page = String::new();
//! # scrape.read_to_string(&mut page)?;
//! # assert!(page.contains("uds_ipc_writer_sent_messages_total{name=\"logs\"} 0\n"));
//! # let _ = writer.shutdown(std::time::Duration::ZERO)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! For the textfile collector of `node_exporter`, write the page to a file beside the one that it
//! reads, `uds_ipc.prom`, and rename it to that.
//!
//! For a program that uses the `metrics` crate, the feature `metrics` brings
//! a `Publisher` for each writer and each reader, which hands the figures to whatever recorder
//! there is, here `metrics-exporter-prometheus = "0.18"`. It has no thread of its own: call it from
//! a timer of the program's, every few seconds. It speaks to `metrics = "0.24"`: in a program with
//! another version of that crate the figures go nowhere.
//!
//! ```
//! # #[cfg(feature = "metrics")] {
//! use metrics_exporter_prometheus::PrometheusBuilder;
//! # let writer = uds_ipc::Writer::start("/tmp/nobody-is-there.sock")?;
//!
//! // `PrometheusBuilder::install` also answers scrapes, with its feature `http-listener`.
//! let recorder = PrometheusBuilder::new().build_recorder();
//! let page = recorder.handle();
//! metrics::set_global_recorder(recorder)?;
//!
//! let mut publisher = writer.publisher("logs"); // a reader has one too
//! publisher.publish();
//! assert!(page.render().contains("uds_ipc_writer_sent_messages_total{name=\"logs\"} 0"));
//! # let _ = writer.shutdown(std::time::Duration::ZERO)?;
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! With the feature `serde` the figures are JSON.
//!
//! # Encoders
//!
//! [`try_send_with`](crate::Writer::try_send_with) gives an encoder a buffer of the thread's own:
//! all that write into a `Vec<u8>`, as `io::Write` or `bytes::BufMut`, need no glue.
//!
//! ```
//! # let writer = uds_ipc::Writer::start("/tmp/nobody-is-there.sock")?;
//! # #[derive(serde::Serialize)] struct Event { id: u64 }
//! # #[derive(Clone, PartialEq, prost::Message)]
//! # struct Point { #[prost(uint64, tag = "1")] id: u64 }
//! use prost::Message;
//!
//! let (event, point) = (Event { id: 17 }, Point { id: 17 });
//! writer.try_send_with(|buffer| serde_json::to_writer(buffer, &event))?;
//! writer.try_send_with(|buffer| rmp_serde::encode::write(buffer, &event))?;
//! writer.try_send_with(|buffer| ciborium::into_writer(&event, buffer))?;
//! writer.try_send_with(|buffer| point.encode(buffer))?;
//! # let _ = writer.shutdown(std::time::Duration::ZERO)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A Protocol Buffers message with nothing but defaults is empty, and an empty message is refused:
//! give each a field that is never zero.
//!
//! # Streams of your own
//!
//! A [`FrameCodec`](crate::FrameCodec) has the frames alone, for a stream of an async runtime, a
//! file or a test. With the feature `tokio-util` it goes into `tokio_util::codec::Framed`, over any
//! `AsyncRead` and `AsyncWrite`.
