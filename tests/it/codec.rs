//! The codec under tokio-util: on a stream of its own, and against both ends of the crate.

use std::io::ErrorKind;

use futures_util::{SinkExt, StreamExt};
use prost::Message as _;
use tokio::net::{UnixListener, UnixStream};
use tokio_util::codec::Framed;
use uds_ipc::error::FrameError;
use uds_ipc::{FrameCodec, Writer};

use crate::support::{Collector, PATIENCE, Place};

fn block_on<T>(act: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, act).await.unwrap() })
}

fn messages() -> Vec<Vec<u8>> {
    let lengths = [1, 127, 128, 16_383, 16_384, 300_000, 2];
    lengths.map(|len| vec![b'x'; len]).to_vec()
}

#[test]
fn a_reader_gets_what_the_codec_sends() {
    let place = Place::new();
    let collector = Collector::start(&place.socket());
    block_on(async {
        let stream = UnixStream::connect(place.socket()).await.unwrap();
        let mut frames = Framed::new(stream, FrameCodec::default());
        for message in messages() {
            frames.send(message).await.unwrap();
        }
    });
    assert_eq!(collector.wait_for(messages().len()), messages());
    collector.stop();
}

#[test]
fn the_codec_reads_what_a_writer_sends() {
    let place = Place::new();
    let came = block_on(async {
        let listener = UnixListener::bind(place.socket()).unwrap();
        let writer = Writer::start(place.socket()).unwrap();
        for message in messages() {
            writer.try_send(message).unwrap();
        }
        let (stream, _) = listener.accept().await.unwrap();
        let end = tokio::task::spawn_blocking(move || writer.shutdown(PATIENCE));
        let frames = Framed::new(stream, FrameCodec::default());
        let came: Vec<_> = frames.map(Result::unwrap).collect().await;
        assert_eq!(end.await.unwrap().unwrap().left.messages, 0);
        came
    });
    assert_eq!(came, messages());
}

#[test]
fn a_length_above_the_limit_and_half_a_frame_are_errors() {
    let read = |bytes: &'static [u8]| {
        block_on(async move {
            let mut frames = Framed::new(bytes_only(bytes), FrameCodec::with_max_message_len(10));
            let first = frames.next().await.unwrap();
            assert_eq!(first.unwrap(), "one");
            frames.next().await.unwrap().unwrap_err()
        })
    };
    let error = read(b"\x03one\x0b");
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    let cause = error.get_ref().unwrap().downcast_ref::<FrameError>();
    assert!(matches!(
        cause,
        Some(FrameError::TooLong {
            len: 11,
            limit: 10,
            ..
        })
    ));
    let error = read(b"\x03one\x0ahalf of");
    assert!(error.to_string().contains("bytes remaining"), "{error}");
}

/// A stream that ends.
fn bytes_only(bytes: &'static [u8]) -> impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin {
    let (near, mut far) = tokio::io::duplex(64);
    tokio::spawn(async move {
        tokio::io::AsyncWriteExt::write_all(&mut far, bytes)
            .await
            .unwrap();
    });
    near
}

#[test]
fn the_frames_are_the_delimited_messages_of_protocol_buffers() {
    let text = "x".repeat(200);
    let mut stream = text.encode_length_delimited_to_vec();
    stream.extend(String::new().encode_length_delimited_to_vec());
    let mut ours = Vec::new();
    FrameCodec::default()
        .append(&text.encode_to_vec(), &mut ours)
        .unwrap();
    FrameCodec::default().append(b"", &mut ours).unwrap();
    assert_eq!(ours, stream);
}
