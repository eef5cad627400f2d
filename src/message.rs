//! What can be sent, and what of it comes back when it is refused.
//! A value: framing and queueing are elsewhere.

use bytes::Bytes;

/// Something that can be sent: any borrowed or owned run of bytes or text.
///
/// What is borrowed (`&[u8]`, `&str`, `&Vec<u8>`, `&String`, `&[u8; N]`, `&Bytes`) is copied into the queue. What is owned (`Vec<u8>`,
/// `String`, [`Bytes`], `Box<[u8]>`) is copied while it is small, which is faster, and handed over without a copy from 32 KiB on.
///
/// This trait is sealed: the list above is all there is.
pub trait Message: sealed::Sealed + Sized {
    /// What a refusal gives back: the message itself where it was owned, `()` where the caller still has it.
    type Returned: 'static;

    #[doc(hidden)]
    fn bytes(&self) -> &[u8];

    /// Whether `into_bytes` costs no copy.
    #[doc(hidden)]
    const OWNED: bool;

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
        impl<$($generic)*> Message for $message {
            type Returned = ();
            const OWNED: bool = false;

            #[inline]
            fn bytes(&self) -> &[u8] {
                let bytes: fn(&Self) -> &[u8] = $bytes;
                bytes(self)
            }

            fn into_bytes(self) -> Bytes {
                Bytes::copy_from_slice(Message::bytes(&self))
            }

            fn give_back(self) {}
        }
    )*};
}

macro_rules! owned {
    ($($message:ty, $bytes:expr;)*) => {$(
        impl sealed::Sealed for $message {}
        impl Message for $message {
            type Returned = Self;
            const OWNED: bool = true;

            #[inline]
            fn bytes(&self) -> &[u8] {
                let bytes: fn(&Self) -> &[u8] = $bytes;
                bytes(self)
            }

            fn into_bytes(self) -> Bytes {
                self.into()
            }

            fn give_back(self) -> Self {
                self
            }
        }
    )*};
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
    Vec<u8>, |message| message;
    String, |message| message.as_bytes();
    Bytes, |message| message;
    Box<[u8]>, |message| message;
}
