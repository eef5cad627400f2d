//! Read buffers that are used again, with whatever is in them: not to clear what is overwritten
//! saves time. Bounded in number and in the size of each: what has grown beyond is given back to
//! the allocator.

use parking_lot::Mutex;

/// A set of buffers.
#[derive(Debug)]
pub(crate) struct Pool {
    spare: Mutex<Vec<Vec<u8>>>,
    most: usize,
    max_capacity: usize,
}

impl Pool {
    /// Keeps at most `most` buffers of at most `max_capacity` bytes each.
    pub(crate) fn new(most: usize, max_capacity: usize) -> Self {
        Self {
            spare: Mutex::new(Vec::new()),
            most,
            max_capacity,
        }
    }

    /// A buffer as its last user left it, or a new one.
    pub(crate) fn take(&self) -> Vec<u8> {
        self.spare.lock().pop().unwrap_or_default()
    }

    /// Takes a buffer back.
    pub(crate) fn give(&self, buffer: Vec<u8>) {
        if buffer.capacity() == 0 || buffer.capacity() > self.max_capacity {
            return;
        }
        let mut spare = self.spare.lock();
        if spare.len() < self.most {
            spare.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_as_it_was() {
        let pool = Pool::new(1, 64);
        pool.give(vec![1; 64]);
        assert_eq!(pool.take(), [1; 64]);
        assert_eq!(pool.take().capacity(), 0);
    }

    #[test]
    fn what_has_grown_or_is_too_many_is_not_kept() {
        let pool = Pool::new(1, 64);
        pool.give(vec![0; 65]);
        assert_eq!(pool.take().capacity(), 0);
        pool.give(vec![0; 10]);
        pool.give(vec![0; 20]);
        assert_eq!(pool.take().capacity(), 10);
        assert_eq!(pool.take().capacity(), 0);
    }
}
