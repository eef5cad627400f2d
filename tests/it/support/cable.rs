//! Two machines and the cable between them, on which a test loses packets, holds them up, or cuts
//! it. A machine is a network namespace, for the threads that are in it; at each end of the cable
//! is a TUN device, and what carries the packets from one to the other is this file. So it needs no
//! `netem`, which not every kernel has, and no tools. Nothing of it has a name outside, and all of
//! it goes with its descriptors, however the process ends.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::env;
use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns, unshare};
use parking_lot::Mutex;
use tun::Device;

use super::skip;

/// Set to `must` where a test that can have no cable is to fail.
const MUST: &str = "UDS_IPC_NETWORK";

/// How soon the cable sees that it is to end, or has another machine at its end.
const LOOK: Duration = Duration::from_millis(5);

/// Longer than any packet.
const LONGEST: usize = 65_536;

/// Where the writers are.
const NEAR: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

/// Where the readers are.
pub(crate) const FAR: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

/// How good a cable is, either way.
#[derive(Clone, Copy, Default)]
pub(crate) struct Quality {
    /// Of a hundred packets.
    pub(crate) loss: u8,
    pub(crate) delay: Duration,
    /// The most that is added to the delay. A packet may overtake another by it.
    pub(crate) jitter: Duration,
}

/// A network of its own. It is there as long as somebody holds this, or a socket of it.
pub(crate) struct Machine {
    namespace: File,
    device: Arc<Device>,
}

impl Machine {
    fn new(address: Ipv4Addr) -> io::Result<Self> {
        in_a_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            let mut configuration = tun::Configuration::default();
            configuration
                .address(address)
                .netmask((255, 255, 255, 0))
                .up();
            Ok(Self {
                namespace: File::open("/proc/thread-self/ns/net")?,
                device: Arc::new(tun::create(&configuration).map_err(io::Error::other)?),
            })
        })
    }

    /// Does something there. The threads that it starts stay there.
    pub(crate) fn run<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        in_a_thread(|| {
            setns(&self.namespace, CloneFlags::CLONE_NEWNET).expect("a network");
            act()
        })
    }
}

/// A network is a thread's own matter. This one must not take the test's along.
fn in_a_thread<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(act).join().expect("no panic"))
}

pub(crate) struct Cable {
    pub(crate) near: Machine,
    pub(crate) far: Machine,
    line: Arc<Line>,
    carriers: Vec<JoinHandle<()>>,
}

struct Line {
    ends: [Mutex<Arc<Device>>; 2],
    /// By the end that packets come from: how often that way was cut or mended. An odd number is
    /// cut.
    changes: [AtomicU64; 2],
    is_over: AtomicBool,
    lost: AtomicU64,
}

impl Cable {
    /// `None`, said aloud, where it cannot be had.
    #[track_caller]
    pub(crate) fn new(quality: Quality) -> Option<Self> {
        let machines = Machine::new(NEAR).and_then(|near| Ok((near, Machine::new(FAR)?)));
        let (near, far) = match machines {
            Ok(machines) => machines,
            Err(error) => {
                let must = env::var_os(MUST).is_some_and(|it| it == "must");
                assert!(!must, "there is no network of our own: {error}");
                skip(&format!("there is no network of our own: {error}"));
                return None;
            }
        };
        let line = Arc::new(Line {
            ends: [&near, &far].map(|machine| Mutex::new(Arc::clone(&machine.device))),
            changes: [0; 2].map(AtomicU64::new),
            is_over: AtomicBool::new(false),
            lost: AtomicU64::new(0),
        });
        let carriers = [0, 1].map(|from| {
            let line = Arc::clone(&line);
            thread::spawn(move || line.carry(from, quality))
        });
        Some(Self {
            near,
            far,
            line,
            carriers: carriers.into(),
        })
    }

    /// From now on nothing arrives, not even what is on its way.
    pub(crate) fn cut(&self) {
        self.set_cut([true, true]);
    }

    /// Nothing arrives at the far end any more. What is confirmed of it is.
    pub(crate) fn cut_way_there(&self) {
        self.set_cut([true, false]);
    }

    pub(crate) fn mend(&self) {
        self.set_cut([false, false]);
    }

    fn set_cut(&self, ways: [bool; 2]) {
        for (changes, is_cut) in self.line.changes.iter().zip(ways) {
            let so_far = changes.load(Ordering::SeqCst);
            if is_cut_after(so_far) != is_cut {
                changes.store(so_far + 1, Ordering::SeqCst);
            }
        }
    }

    /// How many packets were lost by chance.
    pub(crate) fn lost(&self) -> u64 {
        self.line.lost.load(Ordering::Relaxed)
    }

    /// Puts another machine at the far end, with the same address. Returns the one that was there:
    /// what it still says nobody hears.
    pub(crate) fn replace_far(&mut self) -> Machine {
        let new = Machine::new(FAR).expect("one more, where there are two");
        *self.line.ends[1].lock() = Arc::clone(&new.device);
        std::mem::replace(&mut self.far, new)
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.line.is_over.store(true, Ordering::SeqCst);
        for carrier in self.carriers.drain(..) {
            let _ = carrier.join();
        }
    }
}

/// A packet on the cable: what is due first is the least.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Packet {
    due: Instant,
    number: u64,
    /// How often its way had changed when it came.
    changes: u64,
    bytes: Vec<u8>,
}

fn is_cut_after(changes: u64) -> bool {
    changes % 2 == 1
}

impl Line {
    /// Carries what comes from one end to the other.
    fn carry(&self, from: usize, quality: Quality) {
        let mut chance = fastrand::Rng::new();
        let mut on_way: BinaryHeap<Reverse<Packet>> = BinaryHeap::new();
        let mut buffer = vec![0; LONGEST];
        let mut number = 0;
        let changes = || self.changes[from].load(Ordering::SeqCst);
        while !self.is_over.load(Ordering::SeqCst) {
            let end = Arc::clone(&self.ends[from].lock());
            let next = on_way.peek().map_or(LOOK, |Reverse(packet)| {
                packet.due.saturating_duration_since(Instant::now())
            });
            match end.recv_timeout(&mut buffer, next.min(LOOK)) {
                // Another machine is there now.
                Ok(_) if !Arc::ptr_eq(&end, &self.ends[from].lock()) => {}
                Ok(_) if chance.u8(0..100) < quality.loss => {
                    self.lost.fetch_add(1, Ordering::Relaxed);
                }
                Ok(len) => {
                    number += 1;
                    on_way.push(Reverse(Packet {
                        due: Instant::now() + quality.delay + quality.jitter.mul_f64(chance.f64()),
                        number,
                        changes: changes(),
                        bytes: buffer[..len].to_vec(),
                    }));
                }
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
                // The device has no machine any more.
                Err(_) => thread::park_timeout(LOOK),
            }
            let now = Instant::now();
            while on_way.peek().is_some_and(|Reverse(it)| it.due <= now) {
                let Some(Reverse(packet)) = on_way.pop() else {
                    break;
                };
                if packet.changes == changes() && !is_cut_after(packet.changes) {
                    // Where nobody is, it is lost.
                    let _ = self.ends[1 - from].lock().send(&packet.bytes);
                }
            }
        }
    }
}
