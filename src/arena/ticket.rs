//! What is passed beside an arena with each connection: which connection it is.
//! Values. An arena has one description whoever holds it, and its header may speak of the next
//! connection already; so each connection has a few bytes of its own, which never change.

/// Which connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// The writer's connections count from 1.
    pub(crate) connection: u64,
    /// The number of the first message on it.
    pub(crate) first: u64,
    /// A number means the same message on each connection: none is ever dropped to make room.
    pub(crate) is_exact: bool,
}

/// How long it is in bytes.
pub(crate) const TICKET_SIZE: usize = 24;

impl Ticket {
    pub(crate) fn encode(self) -> [u8; TICKET_SIZE] {
        let words = [self.connection, self.first, u64::from(self.is_exact)];
        let mut bytes = [0; TICKET_SIZE];
        for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; TICKET_SIZE]) -> Self {
        let word = |at: usize| {
            let word = bytes.chunks_exact(8).nth(at);
            let word = word.and_then(|word| word.try_into().ok());
            word.map_or(0, u64::from_le_bytes)
        };
        Self {
            connection: word(0),
            first: word(1),
            is_exact: word(2) == 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_comes_through() {
        let ticket = Ticket {
            connection: 3,
            first: u64::MAX - 1,
            is_exact: true,
        };
        assert_eq!(Ticket::decode(&ticket.encode()), ticket);
    }
}
