//! A bare channel whose receiver sleeps, and is woken by whoever sends.
//! What handing over costs without a thread that lingers.

use std::mem;
use std::thread;

use crossbeam_channel::{Sender, bounded};

use super::cases::PACED_SIZE;
use super::counter::FILL;
use super::failure::Failure;
use super::handwritten::SLOTS;
use super::target::Target;

pub(super) struct Waking {
    channel: Sender<Vec<u8>>,
    message: Vec<u8>,
}

impl Waking {
    pub(super) fn new() -> Result<Self, Failure> {
        let (channel, messages) = bounded::<Vec<u8>>(SLOTS);
        let receive = move || while messages.recv().is_ok() {};
        let thread = thread::Builder::new().name("waking".into());
        // It ends with the channel.
        let _ = thread
            .spawn(receive)
            .map_err(Failure::at("start a receiver"))?;
        Ok(Self {
            channel,
            message: Vec::new(),
        })
    }
}

impl Target for Waking {
    /// Here, so that the allocation is not timed.
    fn prepare(&mut self) {
        self.message = vec![FILL; PACED_SIZE];
    }

    fn try_send(&mut self, _: u64) -> bool {
        self.channel.try_send(mem::take(&mut self.message)).is_ok()
    }

    fn send_late(&mut self) -> Result<(), Failure> {
        // The receiver ends after the sender.
        let _ = self.channel.send(vec![FILL; PACED_SIZE]);
        Ok(())
    }
}
