//! What can be sent, and what of it comes back when it is refused.
//! A value: framing and queueing are elsewhere.

use bytes::Bytes;

/// Something that can be sent: any borrowed or owned run of bytes or text.
///
/// What is borrowed (`&[u8]`, `&str`, `&Vec<u8>`, `&String`, `&[u8; N]`, `&Bytes`) is copied into
/// the queue. What is owned (`Vec<u8>`, `String`, [`Bytes`], `Box<[u8]>`) is copied too where that
/// is faster: below 16 KiB, and but for a [`Bytes`] up to 120 KiB, while messages come fast and the
/// queue has room. Its memory is free at once then. Else it is handed over without a copy. A
/// [`Bytes`] that is a part of something larger keeps all of that in memory until it is sent. One
/// with an owner ([`Bytes::from_owner`]) is given up on the writer's thread, or on that of a sender
/// that makes room, or where it is copied in the call; its owner may call the writer then.
///
/// This trait is sealed: the list above is all there is. Of anything else send a borrow, as of an
/// `Arc<str>` or a `Cow` with `&message[..]`, or what an encoder makes of it with
/// [`try_send_with`](crate::Writer::try_send_with).
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent as a message",
    label = "neither bytes nor text",
    note = "send `&[u8]`, `&str`, `Vec<u8>`, `String`, `Bytes` or `Box<[u8]>`: of an `Arc` or a `Cow` `&message[..]`",
    note = "what an encoder writes goes out with `try_send_with`"
)]
pub trait IntoMessage: sealed::Sealed + Sized {
    /// What a refusal gives back: the message itself where it was owned, `()` where the caller
    /// still has it.
    type Returned: 'static;

    #[doc(hidden)]
    fn bytes(&self) -> &[u8];

    /// Whether `into_bytes` costs no copy.
    #[doc(hidden)]
    const OWNED: bool;

    /// Whether others may have a part of the same memory: then a copy frees none.
    #[doc(hidden)]
    const SHARED: bool;

    #[doc(hidden)]
    fn into_bytes(self) -> Bytes;

    #[doc(hidden)]
    fn give_back(self) -> Self::Returned;
}

mod sealed {
    #[expect(unnameable_types, reason = "that is what seals it")]
    pub trait Sealed {}
}

macro_rules! borrowed {
    ($([$($generic:tt)*] $message:ty, $bytes:expr;)*) => {$(
        impl<$($generic)*> sealed::Sealed for $message {}
        impl<$($generic)*> IntoMessage for $message {
            type Returned = ();
            const OWNED: bool = false;
            const SHARED: bool = false;

            #[inline]
            fn bytes(&self) -> &[u8] {
                let bytes: fn(&Self) -> &[u8] = $bytes;
                bytes(self)
            }

            fn into_bytes(self) -> Bytes {
                Bytes::copy_from_slice(IntoMessage::bytes(&self))
            }

            fn give_back(self) {}
        }
    )*};
}

macro_rules! owned {
    ($($message:ty, $shared:expr, $bytes:expr, $owned:expr;)*) => {$(
        impl sealed::Sealed for $message {}
        impl IntoMessage for $message {
            type Returned = Self;
            const OWNED: bool = true;
            const SHARED: bool = $shared;

            #[inline]
            fn bytes(&self) -> &[u8] {
                let bytes: fn(&Self) -> &[u8] = $bytes;
                bytes(self)
            }

            fn into_bytes(self) -> Bytes {
                let owned: fn(Self) -> Bytes = $owned;
                owned(self)
            }

            fn give_back(self) -> Self {
                self
            }
        }
    )*};
}

/// Gives memory back that a buffer has and does not use: the queue's bound counts only what is
/// used.
pub(crate) fn without_slack(mut buffer: Vec<u8>) -> Vec<u8> {
    if buffer.capacity() / 2 > buffer.len() {
        buffer.shrink_to_fit();
    }
    buffer
}

borrowed! {
    [] &[u8], |message| message;
    [] &str, |message| message.as_bytes();
    [] &Vec<u8>, |message| message;
    [] &String, |message| message.as_bytes();
    [] &Bytes, |message| message;
    [const N: usize] &[u8; N], |message| *message;
}

owned! {
    Vec<u8>, false, |message| message, |message| without_slack(message).into();
    String, false, |message| message.as_bytes(), |message| without_slack(message.into_bytes()).into();
    Bytes, true, |message| message, |message| message;
    Box<[u8]>, false, |message| message, Bytes::from;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owned_buffer_keeps_no_more_memory_than_twice_its_message() {
        let mut buffer = Vec::with_capacity(1 << 20);
        buffer.resize(40_000, 7);
        assert!(without_slack(buffer).capacity() <= 80_000);
        assert_eq!(without_slack(Vec::with_capacity(0)).capacity(), 0);
    }
}
