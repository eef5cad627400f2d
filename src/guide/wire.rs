//! What stands on the wire, byte by byte: for whoever writes an end in another language.
//!
//! A *sender* is what this crate calls a writer, a *receiver* what it calls a reader. "Must" is
//! what the other end relies on; "may" is left to you. Bytes are hexadecimal. The folder
//! `examples/clients` has a sender and a receiver in Python and in C, and `vectors.json`, which the
//! tests of all languages read. To be short, these leave out: in a sender, the time after which a
//! write is given up, and `00` to keep a connection alive; in a receiver, the idle timeout, what to
//! do when a message can't be stored (they end, and confirm nothing more), and, over TCP, all that
//! a stop should say: what is on its way then is lost, or comes again.
//!
//! # The stream
//!
//! A connection is a Unix stream socket (`SOCK_STREAM`); or TCP, or another stream. The receiver
//! listens, the sender connects. Nothing is negotiated and there is no greeting: the first byte is
//! that of the first frame. Frames go from the sender to the receiver, receipts on the same socket
//! the other way. A sender that asks for nothing gets not one byte, and may throw away what comes
//! all the same; it must notice the end of the stream.
//!
//! # Varints
//!
//! All numbers are unsigned LEB128 varints, as in Protocol Buffers: seven bits a byte, the lowest
//! first; all bytes but the last have the top bit (`80`) set.
//!
//! ```text
//! 5       = 05
//! 127     = 7f
//! 128     = 80 01                      0x80 | (128 & 0x7f), 128 >> 7
//! 300     = ac 02                      0x80 | (300 & 0x7f), 300 >> 7
//! 10 MiB  = 80 80 80 05
//! 2^63    = 80 80 80 80 80 80 80 80 80 01
//! 2^64-1  = ff ff ff ff ff ff ff ff ff 01
//! ```
//!
//! * A varint takes 1 to 10 bytes, and its value fits into 64 bits. So a tenth byte is `00` or
//!   `01`. Any other tenth byte is *no number*, whatever follows.
//! * The *minimal* form is the shortest. A *padded* one has more bytes than that and the same
//!   value: the last byte gets the top bit, then come bytes `80`, and at last `00`. 5 padded by one
//!   byte is `85 00`, by two `85 80 00`; 0 is `80 00` and `80 80 00`.
//! * The *padding* is how many bytes a varint has beyond its minimal form. A decoder must accept
//!   padded forms of up to 10 bytes, and must know the padding: in two places, and only there, it
//!   is a word (below).
//! * The minimal form of 0 has one byte.
//!
//! # Frames
//!
//! ```text
//! frame = length (varint)  payload (length bytes)
//! ```
//!
//! | bytes | meaning |
//! | --- | --- |
//! | `01 61` | the message `61` |
//! | `ac 02` and 300 bytes | a message of 300 bytes |
//! | `81 80 00 61` | the message `61`: its length is padded, which means nothing |
//! | `00` | an *empty frame*: no message. It requests a receipt, and shows that the sender lives |
//! | `80 00` as the first frame of a connection | the *opening*: an empty frame that also says that this sender delivers at least once |
//! | `80 00` in any other place; a zero padded otherwise, in any place | what `00` means. Other paddings are kept for later words |
//! | a length above the receiver's limit (10 MiB unless set) | refused: see [below](#refusals) |
//! | ten bytes that are no number | refused likewise |
//! | the end of the stream inside a frame | half a frame: thrown away, never delivered |
//!
//! A message is any bytes, at least one. A sender must write lengths in their minimal form, and
//! must not send an empty message: it would be a request. How a stream is cut into writes or
//! packets means nothing: a receiver must accept frames that come byte by byte, and many in one
//! piece.
//!
//! A receiver must not reserve memory for a length that was only announced: let the buffer follow
//! the bytes that have come. After a refusal there is no way to find the next frame: nothing behind
//! it may be read as one.
//!
//! # Receipts
//!
//! ```text
//! receipt = count (varint), padded by as many bytes as its word says
//! ```
//!
//! The count is how many *messages* of this connection the receiver has dealt with, from its
//! beginning on. Empty frames and the opening do not count. Each connection counts from 0.
//!
//! | bytes | padding | meaning |
//! | --- | --- | --- |
//! | `05`, `ac 02` | 0 | 5, or 300, messages are dealt with |
//! | `85 00`, `80 00` | 1: *refuses the next* | 5, or none, are dealt with; the one after them will never be taken, since it is longer than the limit |
//! | `85 80 00` | 2: *stops* | 5 are dealt with, and the receiver wants to close the connection (not over Unix sockets) |
//! | `85 80 80 00` | 3 and more | 5 are dealt with: kept for later words, and read as plain |
//!
//! What a receiver must do:
//!
//! * Count a message only once it is stored, so that the receiver's death no longer matters. Those
//!   that it throws away on purpose count too.
//! * Send no receipt unless it was asked on this connection, but for those of a receiver that has
//!   said that it stops.
//! * Answer a request with a count of all the messages before it. One receipt may answer several
//!   requests: the count may be higher than at the request, never lower than in a receipt before.
//! * Complete a receipt that the kernel took in part before it begins another.
//! * Never wait for room to send one. A sender may not read at all. Keep the newest count for when
//!   there is room, or close the connection.
//!
//! What a sender must do:
//!
//! * Read receipts at any time, byte by byte if they come so, and in particular before it gives a
//!   connection up: the last ones are there before the end of the stream.
//! * Take a receipt for false, and close the connection, where its count is above the number of the
//!   messages that it has written whole on it, or below that of a receipt before, or is no number.
//!   What was confirmed before stays confirmed. The same count again is good. (The crate's writer
//!   takes the same receipt more than 1,024 times without a new request for false as well.)
//! * Not rely on an answer to each request. A receiver that knows no receipts never answers: one
//!   that is to have everything at least once must give them.
//!
//! # At most once
//!
//! The sender writes frames. A message counts as sent once the kernel has taken its last byte; it
//! is not sent again. When a write fails, the message in which it stopped is sent again on the next
//! connection, from the first byte of its frame, then those behind it. So a sender must know how
//! many bytes the kernel took, also of a write that then failed: write with `send` or `write`,
//! whose result says so, not with a call that writes all or fails.
//!
//! It may send `00` to keep a connection alive or to learn how far its messages are. Then it must
//! read the receipts. From its first request on a receiver also tells it of a message that it
//! refuses; and closes the connection when it could not store something, once it has dealt with the
//! rest.
//!
//! # At least once
//!
//! ```text
//! sender                         receiver
//! 80 00  01 61  00       ─▶                 the opening, "a", a request
//!                        ◀─      01         "a" is stored
//! 01 62  01 63  00       ─▶                 "b", "c", a request
//!                        ◀─      02         "b" is stored
//!                                           the receiver is killed; the sender connects anew
//! 80 00  01 63  00       ─▶                 "c" again
//!                        ◀─      01         it counts from the beginning of this connection
//! ```
//!
//! * The first two bytes of each connection are the opening, `80 00`, at once or with the first
//!   message. It is a request as well: `00` may come as an answer before any message.
//! * A sender keeps each message until a receipt covers it, and puts a request behind what it has
//!   written: behind every piece, or when it has nothing more to write. Without one it learns
//!   nothing. Messages that wait for receipts must be bounded; a bound that is lower than what a
//!   receiver stores at a time costs speed, nothing else.
//! * After the end of a connection it sends again all that no receipt covered, the oldest first. So
//!   a message may come twice, on different connections.
//! * A receiver that cannot store a message closes the connection at once. Before that it confirms
//!   what it had stored before that message, even unasked, if there is something new to confirm. It
//!   must not deal with what stands behind that message: it comes again.
//! * What a receiver stores is confirmed as one piece only if all of it is stored. It may confirm
//!   late: a sender waits.
//!
//! # Refusals
//!
//! A receiver that meets a length above its limit must not read on. If the sender has ever asked on
//! this connection (the opening is a request), it sends a receipt that is padded by one byte, with
//! the count of all messages before the refused one; then it closes the connection. `80 00 81 80 80
//! 05` is answered with `80 00`. A sender that hears this as the last word of a connection gives
//! that message up: it would be refused again for ever. If it was the first that no receipt
//! covered, it is the first that would be sent again. A receiver that did not store everything
//! before that message must not send this word.
//!
//! A length that is no number is no refusal of a message: the receiver answers a request that came
//! before it, and closes. The sender sends again, as after any loss.
//!
//! A sender that never asks only sees the end of the connection. It should have a limit itself:
//! that of the receiver, if it is known; else 10 MiB. (The crate's writer also gives a message up
//! when three connections in a row end just behind its length; see [the page on
//! delivery](super::delivery#a-message-that-the-reader-refuses).)
//!
//! # Who may end what, and when
//!
//! | who | how | what the other end does |
//! | --- | --- | --- |
//! | a sender that is done | closes, or ends its sending side (`shutdown(SHUT_WR)`). One that waits for receipts does so once all are there | the receiver deals with all that came, answers what it was asked, and closes |
//! | a sender that gives up | closes. It should when the kernel takes no byte for some time (the crate: 1 s unless set) | likewise; half a frame is thrown away |
//! | a receiver that stops, over a Unix socket of Linux | empties its backlog (see below); ends its *receiving* side (`shutdown(SHUT_RD)`), reads on to the end of the stream, answers, closes | the sender's next write fails (`EPIPE`). What the kernel had taken is dealt with. One that waits for receipts must go on reading them until the end of the stream (or until none has come for some time), and only then sends again what they do not cover |
//! | a receiver that stops, over TCP, to a sender that opened so | empties its backlog; sends a receipt that is padded by two bytes; from then on one for each piece that it has stored, unasked and padded so too; and reads on until the sender ends its side or is silent (the crate: for three seconds) | the sender writes nothing more, not even the rest of a frame, ends its sending side, reads receipts to the end (or until none has come for some time), connects anew |
//! | likewise, to any other | empties its backlog; ends its sending side, and reads on until the sender ends its side or is silent (the crate: for three seconds) | the sender reads the end of the stream: it closes, and connects anew |
//! | a receiver to which a sender has been silent | the same three rows; the crate: after 10 s unless set | likewise. An empty frame in time avoids it |
//! | a receiver that refuses, or could not store | the last receipt, if one is due, then closes | the sender connects anew |
//! | a process that dies | its kernel closes the socket | as above, without a last word: `EPIPE` or `ECONNRESET` on a write, the end of the stream or `ECONNRESET` on a read |
//!
//! Whoever waits in the backlog of a receiver has connected, and may have sent. So a receiver that
//! stops must first see that nobody else connects, and accept all who wait; else what they have
//! sent is lost. On Linux a `shutdown(SHUT_RD)` of the listening Unix socket does that: a `connect`
//! is then refused, and `accept` fails (`EINVAL`) once nobody waits. (Over TCP it would reset those
//! who wait: there accept until `EAGAIN`, then close.) Where its connections are bounded, it ends
//! those that it has, so that there is a place for those who wait. A listener that a service
//! manager holds is only left alone: its backlog waits for the next start.
//!
//! A sender must not wait for the last receipts for ever: the receiver may hang. It counts from the
//! last receipt that covered something. (The crate: its write timeout, 1 s unless set, and longer
//! each time; after "stops" only while a message waits to be written. The examples: 10 s.)
//!
//! A sender over TCP that does not know the word "stops" is told by the end of the stream, when ten
//! seconds have passed, or 64 MiB have come. Over TCP a receiver that closes while bytes lie unread
//! resets the connection, and what it said last may be lost with that.
//!
//! A receiver must not end its *sending* side while the connection is to go on: a sender takes the
//! end of the stream for the end of the connection. (The crate's writer goes on over a Unix socket,
//! without receipts.) A write to a connection that has ended raises SIGPIPE, unless that is ignored
//! or the call has `MSG_NOSIGNAL`.
//!
//! A sender that connects anew waits in between, longer each time and with some chance in it (the
//! crate: from 10 ms, doubled up to 1 s; back to 10 ms after a receipt, or after a connection that
//! has lived for a second). `ENOENT` and `ECONNREFUSED` mean that nobody listens yet, and
//! `EAGAIN` of a non-blocking connect that the backlog is full: all are tried again.
//!
//! A receiver accepts connections side by side: the next connection of a sender may begin before
//! the receiver has come to the end of the one before. The order of messages is that of one
//! connection.
//!
//! # Each role, as states
//!
//! A sender, at most once:
//!
//! | state | event | action | next |
//! | --- | --- | --- | --- |
//! | down | the wait is over | connect | up, or down with a longer wait |
//! | up | a message waits | write it; what the kernel took whole is settled | up |
//! | up | a write fails | close; the message in which it stopped goes out first | down |
//! | up | end of the stream, or an error of a read | close | down |
//! | up | no message waits, and none will come | close | done |
//!
//! A sender, at least once (`waiting` and `unconfirmed` are queues; `confirmed` is a number):
//!
//! | state | event | action | next |
//! | --- | --- | --- | --- |
//! | down | the wait is over | connect; write `80 00`; `confirmed` = 0 | up, or down with a longer wait |
//! | up | a message waits | write it; when the kernel has it whole: from `waiting` to `unconfirmed` | up |
//! | up | nothing waits, and no request stands behind the last message | write `00` | up |
//! | up, ending | a receipt for `count`, `confirmed` ≤ `count` ≤ `confirmed` + length of `unconfirmed` | settle the first `count` − `confirmed` of `unconfirmed`; `confirmed` = `count`; note its word | as before |
//! | up, ending | another receipt, or no number | close | down |
//! | up | a receipt with the word "stops" | `shutdown(SHUT_WR)` | ending |
//! | up | a write fails | write nothing more; if `unconfirmed` is empty, only read what is there | ending |
//! | ending | no receipt has covered anything for some time | as at the end of the stream | down |
//! | up, ending | end of the stream, or an error of a read | close; `unconfirmed` goes back before `waiting`; if the last word was "refuses the next", give the first up | down |
//! | up | both are empty, and no message will come | close | done |
//!
//! A receiver without receipts:
//!
//! | state | event | action | next |
//! | --- | --- | --- | --- |
//! | between frames | a length of 0 | nothing | between frames |
//! | between frames | a length up to the limit | | in a frame |
//! | between frames | a length above it, or no number | close | done |
//! | in a frame | its last byte | deliver | between frames |
//! | any | end of the stream, or an error of a read | throw half a frame away; close | done |
//!
//! A receiver with receipts (`count`, `asked` and `opened` belong to the connection):
//!
//! | state | event | action | next |
//! | --- | --- | --- | --- |
//! | between frames | a length of 0, the first frame, in two bytes | `opened`, `asked`; after storing: send `count` | between frames |
//! | between frames | any other length of 0 | `asked`; after storing: send `count` | between frames |
//! | between frames | a length up to the limit | | in a frame |
//! | between frames | a length above it | store what came before; if `asked`: send `count` padded by one byte; close | done |
//! | between frames | no number | store what came before; answer a request that is open; close | done |
//! | in a frame | its last byte | store; `count` + 1 | between frames |
//! | any | it cannot be stored, `opened` | send `count` if that is news; close at once | done |
//! | any | it cannot be stored, only `asked` | no more receipts; deal with what the kernel still holds; close | done |
//! | any | it cannot be stored, never `asked` | the message is lost | as before |
//! | any | end of the stream, or an error of a read | store what came; answer what is open; throw half a frame away; close | done |
//!
//! # Limits
//!
//! | what | the crate, unless set | on the wire |
//! | --- | --- | --- |
//! | a message | 10 MiB, at both ends | 1 byte to 2^64 - 1 |
//! | messages of a connection | | counts below 2^56 have room for both words; above, a receipt goes out without |
//! | a frame's time | the idle timeout of 10 s, and the time of its bytes that have come at 64 KiB a second | |
//! | connections | 1,024 at once; more wait in the backlog | |
//!
//! # Credentials, and descriptors
//!
//! Nothing of who an end is stands on the wire. Over a Unix socket the kernel says it
//! (`SO_PEERCRED`, see `unix(7)`; `getpeereid` elsewhere): the crate's reader may turn a peer away
//! by it before it reads a byte, its writer may check the uid of the reader before it sends one,
//! and the mode of the socket's file (0600 unless set) says who can connect at all. A peer that was
//! turned away sees the end of the stream, or a reset, without a word: it is tried again as any
//! other loss.
//!
//! A writer that is [`crash_proof`](super::crash_proof) passes two descriptors with the first bytes
//! of each connection (`SCM_RIGHTS`). No byte differs. A receiver that reads with `read` or `recv`
//! need not know: the kernel closes them. One that calls `recvmsg` with room for control messages
//! must close what it finds there.
//!
//! # Ends in other languages
//!
//! `AtLeastOnce` works with all but the Go library.
//!
//! | language | what is there |
//! | --- | --- |
//! | Python, standard library only | `examples/clients/python/send.py` and `receive.py`: a sender that connects again, at most or at least once, and a receiver that gives receipts; for [calls](super::calls) `call.py` and `respond.py` |
//! | C, POSIX only | `examples/clients/c/send.c` and `receive.c`: likewise; `cc -o send examples/clients/c/send.c` |
//! | Go | `examples/clients/go`: how to use the original library with this crate; [what is called what](super::from_go), for those who come from it |
//! | any other | `examples/clients/vectors.json`: frames, refusals, receipts and conversations, which the tests of this crate and of these clients read |
//!
//! # Checking an end against the vectors
//!
//! `examples/clients/vectors.json` says of itself how its bytes are written.
//!
//! | key | for a receiver | for a sender |
//! | --- | --- | --- |
//! | `frames` | of `bytes` and the end of the stream, just `messages` are stored | where `is_minimal`: given `messages` at most once, it writes `bytes` |
//! | `malformed` | `messages` are stored, and it closes | |
//! | `receipts` | | after more than `count` messages at least once, it hears `bytes`, and the end of the stream; with the word "stops" it ends its side before. On the next connection it sends again all but the first `count`, and with "refuses the next" all but one more |
//! | `false_receipts` | | after `sent` messages it hears `bytes`, and closes; then it sends again all but the first `confirmed` |
//! | `conversations` | those whose `role` is "receiver" | those whose `role` is "sender"; `hand` gives it a message; after "receiver closes" it connects anew; after the last step it ends in order |
//!
//! A receiver may answer each request by itself: where `from receiver` stands, what counts is the
//! last receipt. One step of a sender is given to it once the step before has been seen. "Messages
//! from sender" are those of a new connection, with the opening before them, a request behind the
//! last, and maybe more in between. "Sender ends" is a `shutdown(SHUT_WR)` or a close, "receiver
//! ends receiving" a `shutdown(SHUT_RD)`.
