//! What a stream can do, as far as the writer and the reader must know it.
//! A value: the simulation runs each set of abilities.

/// What a stream can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is asked for by itself")]
pub(crate) struct Abilities {
    /// There is a way back: the peer can give receipts.
    pub(crate) answers: bool,
    pub(crate) peer_end: PeerEnd,
    /// It is told what the peer has not read, while it lives and when it has died.
    pub(crate) tells_unread: bool,
    /// The kernel says which process is at the other end.
    pub(crate) tells_credentials: bool,
    /// Memory can be passed over it: its descriptor goes along with bytes.
    pub(crate) passes_memory: bool,
}

/// How a reader that ends says so to its peer, and reads what is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PeerEnd {
    /// It shuts its receiving side: the peer's next write fails, and what was written before stays
    /// readable.
    ShutsReceiving,
    /// It ends its sending side, and reads until the peer has ended its own. Whoever finds the way
    /// back ended is to end the connection.
    EndsSending,
    /// There is no way: it reads until there is nothing, and closes.
    Closes,
}
