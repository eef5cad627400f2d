//! What the senders of all contenders share.
//! The sending itself is theirs.

use std::thread;

use super::failure::Failure;
use super::numbers::widen;

pub(super) trait Sender {
    /// Hands over so many messages, from all producers together.
    fn send(&mut self, count: u64) -> Result<(), Failure>;

    /// Says whether the turn was one: called when all has been received.
    fn finish(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

/// Lets each producer send its share, on a thread of its own.
pub(super) fn share(
    count: u64,
    producers: usize,
    send: impl Fn(u64) -> Result<(), Failure> + Sync,
) -> Result<(), Failure> {
    let most = widen(producers);
    thread::scope(|scope| {
        let mut running = Vec::new();
        for index in 0..most {
            let share = count / most + u64::from(index < count % most);
            let send = &send;
            let named = thread::Builder::new().name("uds-ipc-producer".into());
            running.push(
                named
                    .spawn_scoped(scope, move || send(share))
                    .map_err(Failure::at("start a producer"))?,
            );
        }
        // A producer does not panic; if it did, the answer would not come.
        running
            .into_iter()
            .try_for_each(|producer| producer.join().unwrap_or(Err(Failure::Silent)))
    })
}
