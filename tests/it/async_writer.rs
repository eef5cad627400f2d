//! A writer in async code: what waits is woken, and what is dropped leaves nothing behind.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use futures_util::future::{join_all, poll_immediate};
use tokio::runtime::Builder;
use uds_ipc::error::FlushError;
use uds_ipc::{AsyncWriter, Delivery, FlushLevel, SendError};

use crate::support::acts::panic_quietly;
use crate::support::{
    Collector, Place, finish, finish_with_receipts, numbered, wait_until, writer_with,
};

/// A writer that nobody reads, with room for so many messages.
fn async_writer(place: &Place, messages: usize) -> AsyncWriter {
    let (writer, _) = writer_with(&place.socket(), |builder| {
        builder.max_queued_messages(messages)
    });
    AsyncWriter::from(writer)
}

/// Sends far more than there is room for, and waits for the handler.
async fn send_all(writer: AsyncWriter) {
    for message in numbered(5_000) {
        writer.send(message).await.unwrap();
    }
    writer.flush(FlushLevel::Handled).await.unwrap();
}

#[test]
fn every_runtime_waits_for_room_and_for_the_handler() {
    let check = |run: &dyn Fn(AsyncWriter)| {
        let place = Place::new();
        let writer = async_writer(&place, 10);
        let collector = Collector::start(&place.socket());
        run(writer.clone());
        assert!(collector.messages.all() == numbered(5_000));
        assert_eq!(writer.writer().metrics().dropped.total().messages, 0);
        finish(writer.writer());
        collector.stop();
    };
    check(&|writer| {
        let runtime = Builder::new_current_thread().build().unwrap();
        runtime.block_on(send_all(writer));
    });
    check(&|writer| {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .build()
            .unwrap();
        runtime.block_on(runtime.spawn(send_all(writer))).unwrap();
    });
    check(&|writer| smol::block_on(smol::spawn(send_all(writer))));
    check(&|writer| futures_executor::block_on(send_all(writer)));
}

#[test]
fn many_tasks_wait_for_the_same_room_and_for_receipts() {
    const TASKS: usize = 50;
    let place = Place::new();
    let (writer, _) = writer_with(&place.socket(), |builder| {
        builder
            .max_queued_messages(2)
            .delivery(Delivery::AtLeastOnce)
    });
    let writer = AsyncWriter::from(writer);
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    let tasks = (0..TASKS).map(|task| {
        let writer = writer.clone();
        runtime.spawn(async move {
            for number in 0..20 {
                writer.send(format!("{task}.{number}")).await.unwrap();
            }
            writer.flush(FlushLevel::Handled).await.unwrap();
        })
    });
    let tasks: Vec<_> = tasks.collect();
    let collector = Collector::start(&place.socket());
    for ended in runtime.block_on(join_all(tasks)) {
        ended.unwrap();
    }
    assert_eq!(collector.messages.len(), TASKS * 20);
    finish_with_receipts(writer.writer());
    collector.stop();
}

#[test]
fn a_send_that_is_dropped_before_it_is_ready_sends_nothing() {
    let place = Place::new();
    let writer = async_writer(&place, 1);
    futures_executor::block_on(async {
        writer.send("the first").await.unwrap();
        for _ in 0..1_000 {
            let late = poll_immediate(writer.send("dropped")).await;
            assert!(late.is_none(), "there is no room");
        }
    });
    assert_eq!(writer.writer().metrics().dropped.total().messages, 0);
    let collector = Collector::start(&place.socket());
    finish(writer.writer());
    assert_eq!(collector.stop(), [b"the first"]);
}

#[test]
fn what_cannot_be_sent_comes_back_and_a_shutdown_wakes_who_waits() {
    let place = Place::new();
    let writer = async_writer(&place, 1);
    let details = AsyncWriter::from(writer.writer().shed_at(0.5));
    futures_executor::block_on(async {
        let error = writer.send(vec![0; 11 << 20]).await.unwrap_err();
        assert!(matches!(error, SendError::TooLarge { .. }));
        assert_eq!(error.into_message().len(), 11 << 20);
        assert_eq!(writer.send("").await, Err(SendError::Empty(())));
        writer.send("the first").await.unwrap();
        assert_eq!(details.send("detail").await, Err(SendError::Full(())));
    });
    let (sends, flushes) = (writer.clone(), writer.clone());
    let send = thread::spawn(move || futures_executor::block_on(sends.send(String::from("late"))));
    let flush =
        thread::spawn(move || futures_executor::block_on(flushes.flush(FlushLevel::Handled)));
    let report = futures_executor::block_on(writer.shutdown(Duration::ZERO)).unwrap();
    assert_eq!(report.left.messages, 1);
    assert_eq!(
        send.join().unwrap(),
        Err(SendError::Closed("late".to_owned()))
    );
    let flushed = flush.join().unwrap();
    assert!(
        matches!(
            flushed,
            Err(FlushError::Stopped { .. } | FlushError::Lost { .. })
        ),
        "{flushed:?}"
    );
}

#[test]
fn a_shutdown_is_awaited_and_goes_on_without_its_future() {
    let place = Place::new();
    let writer = async_writer(&place, 10);
    writer.writer().try_send("a message").unwrap();
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let late = runtime.block_on(async {
        let shutdown = writer.shutdown(Duration::from_secs(3600));
        tokio::time::timeout(Duration::from_millis(1), shutdown).await
    });
    assert!(late.is_err(), "nobody is there to read");
    let collector = Collector::start(&place.socket());
    let again = writer.shutdown(Duration::from_secs(3600));
    assert_eq!(runtime.block_on(again).unwrap().left.messages, 0);
    assert_eq!(collector.stop(), [b"a message"]);
}

/// A waker is the code of a runtime: it may do anything.
#[test]
fn a_waker_may_call_the_writer() {
    struct Calls {
        writer: AsyncWriter,
        woken: AtomicU64,
    }
    impl Wake for Calls {
        fn wake(self: Arc<Self>) {
            let _ = self.writer.writer().try_send("from the waker");
            let waiting = pin!(self.writer.send("waits"));
            let _ = waiting.poll(&mut Context::from_waker(Waker::noop()));
            self.woken.fetch_add(1, Ordering::SeqCst);
        }
    }
    let place = Place::new();
    let writer = async_writer(&place, 1);
    let calls = Arc::new(Calls {
        writer: writer.clone(),
        woken: AtomicU64::new(0),
    });
    let waker = Waker::from(Arc::clone(&calls));
    writer.writer().try_send("the first").unwrap();
    let mut send = Box::pin(writer.send("second"));
    assert_eq!(
        send.as_mut().poll(&mut Context::from_waker(&waker)),
        Poll::Pending
    );
    let collector = Collector::start(&place.socket());
    wait_until("it is woken", || calls.woken.load(Ordering::SeqCst) > 0);
    drop(send);
    finish(writer.writer());
    collector.stop();
}

/// Some executors make a waker for each poll. To wake those that are replaced would poll for ever.
#[test]
fn a_waker_that_is_replaced_is_not_woken() {
    #[derive(Default)]
    struct Woken(AtomicU64);
    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let place = Place::new();
    let writer = async_writer(&place, 1);
    writer.writer().try_send("the first").unwrap();
    let mut wakers = Vec::new();
    {
        let (mut send, mut flush) = (
            pin!(writer.send("second")),
            pin!(writer.flush(FlushLevel::Written)),
        );
        for _ in 0..10 {
            let woken = Arc::new(Woken::default());
            let waker = Waker::from(Arc::clone(&woken));
            let mut context = Context::from_waker(&waker);
            assert!(send.as_mut().poll(&mut context).is_pending());
            assert!(flush.as_mut().poll(&mut context).is_pending());
            wakers.push(woken);
        }
    }
    let woken = |waker: &Arc<Woken>| waker.0.load(Ordering::SeqCst);
    assert_eq!(wakers.iter().map(woken).sum::<u64>(), 0);
    let collector = Collector::start(&place.socket());
    finish(writer.writer());
    collector.stop();
}

#[test]
fn a_waker_that_panics_harms_neither_the_writer_nor_other_tasks() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic_quietly();
        }
    }
    let place = Place::new();
    let writer = async_writer(&place, 1);
    writer.writer().try_send("the first").unwrap();
    let mut send = Box::pin(writer.send("second"));
    let waker = Waker::from(Arc::new(Panics));
    assert!(
        send.as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    let other = writer.clone();
    let other = thread::spawn(move || futures_executor::block_on(other.send("third")));
    let collector = Collector::start(&place.socket());
    other.join().unwrap().unwrap();
    // Whoever waits has no place in a line.
    wait_until("there is room again", || {
        let mut context = Context::from_waker(&waker);
        send.as_mut().poll(&mut context).is_ready()
    });
    finish(writer.writer());
    assert_eq!(collector.stop().len(), 3);
}
