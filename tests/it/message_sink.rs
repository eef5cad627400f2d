//! A writer as a sink: ready when there is room, flushed when all has come to a level.

use futures_util::future::poll_immediate;
use futures_util::{SinkExt, StreamExt, stream};
use uds_ipc::{FlushLevel, MessageSink, SendError, SinkError, Writer};

use crate::support::{Collector, PATIENCE, Place, finish, numbered, writer_with};

/// A writer that nobody reads, with room for so many messages.
fn small_writer(place: &Place, messages: usize) -> Writer {
    let (writer, _) = writer_with(&place.socket(), |builder| {
        builder.max_queued_messages(messages)
    });
    writer
}

#[test]
fn a_stream_that_is_forwarded_waits_for_room_and_comes_whole_and_in_order() {
    let place = Place::new();
    let writer = small_writer(&place, 10);
    let collector = Collector::start(&place.socket());
    let sink = MessageSink::new(writer.clone(), FlushLevel::Handled);
    let messages = stream::iter(numbered(5_000)).map(Ok);
    futures_executor::block_on(messages.forward(sink)).unwrap();
    // The close has waited for the handler.
    assert!(collector.messages.all() == numbered(5_000));
    assert_eq!(writer.metrics().dropped.total().messages, 0);
    finish(&writer);
    collector.stop();
}

#[test]
fn a_flush_covers_the_message_that_waits_in_the_sink() {
    let place = Place::new();
    let writer = small_writer(&place, 1);
    let mut sink = MessageSink::new(writer.clone(), FlushLevel::Written);
    let (waits, fed) = futures_executor::block_on(async {
        sink.feed("1").await.unwrap();
        // The second waits in the sink itself, and a third would have to wait for that.
        sink.feed("2").await.unwrap();
        let third = poll_immediate(sink.feed("3")).await;
        (poll_immediate(sink.flush()).await, third)
    });
    assert_eq!((waits, fed), (None, None));
    let collector = Collector::start(&place.socket());
    futures_executor::block_on(sink.flush()).unwrap();
    drop(sink);
    finish(&writer);
    assert_eq!(collector.stop(), [b"1", b"2"]);
}

#[test]
fn what_is_refused_comes_back_and_the_sink_goes_on() {
    let place = Place::new();
    let collector = Collector::start(&place.socket());
    let writer = small_writer(&place, 10);
    let mut sink = MessageSink::new(writer.clone(), FlushLevel::Written);
    let empty = futures_executor::block_on(sink.send(Vec::new()));
    assert_eq!(empty, Err(SinkError::Send(SendError::Empty(Vec::new()))));
    futures_executor::block_on(sink.send(b"1".to_vec())).unwrap();
    let _ = writer.shutdown(PATIENCE).unwrap();
    let closed = futures_executor::block_on(sink.send(b"2".to_vec()));
    assert_eq!(
        closed,
        Err(SinkError::Send(SendError::Closed(b"2".to_vec())))
    );
    assert_eq!(collector.stop(), [b"1"]);
}

#[test]
fn a_sink_that_is_dropped_while_a_message_waits_has_not_sent_it() {
    let place = Place::new();
    let writer = small_writer(&place, 1);
    let mut sink = MessageSink::new(writer.clone(), FlushLevel::Written);
    futures_executor::block_on(async {
        sink.feed("1").await.unwrap();
        sink.feed("2").await.unwrap();
        assert!(poll_immediate(sink.flush()).await.is_none());
    });
    drop(sink);
    let collector = Collector::start(&place.socket());
    finish(&writer);
    assert_eq!(collector.stop(), [b"1"]);
}
