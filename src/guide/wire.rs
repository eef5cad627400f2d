//! What stands on the wire, byte by byte: for whoever writes an end in another language.
//!
//! A *sender* is what this crate calls a writer, a *receiver* what it calls a reader. "Must" is
//! what the other end relies on; "may" is left to you. Bytes are hexadecimal. All times and bounds
//! stand in [one table](#times-and-bounds), with those of this crate. The folder `examples/clients`
//! has a sender and a receiver in Python and in C, and `vectors.json`, which the tests of all
//! languages read. To be short, these leave out: in a sender, the time after which a write is given
//! up, and `00` to keep a connection alive; in a receiver, the idle timeout, what to do when a
//! message can't be stored (they end, and confirm nothing more), and, over TCP, all that a stop
//! should say: what is on its way then is lost, or comes again.
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
//! A message is any bytes, at least one. A sender must write lengths in their minimal form. How a
//! stream is cut into writes or packets means nothing: a receiver must accept frames that come byte
//! by byte, and many in one piece.
//!
//! An empty message can't be sent: its frame is a request. So a sender must decide what to do with
//! one, such as an empty line: leave it out (the crate's `lines` and the examples), refuse it (the
//! crate's `try_send`), or send something in its place.
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
//! | `85 80 00` | 2: *stops* | 5 are dealt with, and the receiver wants to close the connection (the crate: not over Unix sockets) |
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
//! * Put the bytes together where a receipt comes in pieces. Half of one at the end of a connection
//!   is thrown away; the next connection begins with a new one.
//! * Take a receipt for *false* where its count is above the number of the messages that it has
//!   written whole on this connection, or below that of a receipt before, or is no number. The same
//!   count again is good. (The crate's writer takes the same receipt again and again, without a new
//!   request, for false as well.)
//! * Not rely on an answer to each request. A receiver that knows no receipts never answers: one
//!   that is to have everything at least once must give them.
//! * Obey "stops" on any stream, also in the middle of a frame. A receiver says it only to a sender
//!   that has sent the opening. (The crate's reader says it over TCP and other streams of which it
//!   can't end the receiving side alone.)
//!
//! | what a sender hears last on a connection | the first `count` messages | the one behind them | all others |
//! | --- | --- | --- | --- |
//! | a plain count, or "stops" | done | comes again | come again |
//! | "refuses the next" | done | given up, counted and told, if a byte of it was written on this connection; else it comes again | come again |
//! | a false receipt | the sender closes at once. `count` is that of the last receipt which was not false; that one also says what becomes of the rest | | |
//!
//! "Comes again" is at least once, on the next connection, after the usual wait. At most once a
//! message that the kernel has whole never comes again.
//!
//! # To keep a connection alive
//!
//! Only a sender does it: it sends `00` when it has written nothing for, say, half of the
//! receiver's idle timeout, and never inside a frame. (The crate: not unless `keepalive` is set.)
//! To a receiver it is a request as any other: it has the idle timeout begin anew, delivers
//! nothing, and answers, with the same count if nothing is new. The sender must read the answers.
//! Without it a quiet connection is closed and made again, which costs nothing else.
//!
//! # At most once
//!
//! The sender writes frames. A message counts as sent once the kernel has taken its last byte; it
//! is not sent again. When a connection ends in the middle of a message, that message still waits:
//! it is sent again on the next connection, from the first byte of its frame, then those behind it.
//! So a sender must know how many bytes the kernel took, also of a write that then failed: write
//! with `send` or `write`, whose result says so, not with a call that writes all or fails.
//!
//! It may send `00` to learn how far its messages are, or which one is refused. Then it must read
//! the receipts; and over TCP it must not close while an answer may come, which could destroy what
//! is on its way: it ends its sending side, and reads to the end. To a sender that has asked, a
//! receiver says which message it refuses; and it closes the connection when it could not store
//! something, once it has dealt with the rest.
//!
//! A message above the receiver's limit that is too long for the kernel's buffer would come again
//! for ever. So give it up, counted and told, when three connections in a row have ended in it (the
//! examples); or find out for certain: send its length alone and wait a moment for the end (the
//! crate; see [the page on delivery](super::delivery#a-message-that-the-reader-refuses)). Where a
//! receiver that was asked says that it refuses the next, and its count is that of the messages
//! which the kernel has whole, the message is given up at once; with a lower count the refused one
//! has been sent already, and is lost.
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
//! * Where a library does not say how much the kernel took, all that was handed to it counts as
//!   written: only a receipt settles a message.
//! * A sender keeps each message until a receipt covers it. Messages that wait for receipts must be
//!   bounded; a bound that is lower than what a receiver stores at a time costs speed, nothing
//!   else.
//! * A request must stand behind the last message that was written whenever the sender writes no
//!   more for now, whatever the cause: nothing waits, or its bound is full. Else it waits for ever.
//!   It may stand behind every piece that is written.
//! * No receipt comes, though one was asked for: the sender keeps the connection and the messages,
//!   goes on writing as long as its bound allows, and tells its user. A receiver may take long to
//!   store; to close would only send all of it again. A receiver that is gone shows as the end of
//!   the stream, and one that hangs as a write that takes too long; over TCP let the kernel probe
//!   (`SO_KEEPALIVE`, `TCP_USER_TIMEOUT`).
//! * The kernel takes no byte for the write timeout: the sender closes. What no receipt covers
//!   comes again. Each further time it waits twice as long, until a receipt has come in time: a
//!   receiver that is merely slow would get the same messages again and again.
//! * After the end of a connection it sends again all that no receipt covered, the oldest first,
//!   each from the first byte of its frame. So a message may come twice, on different connections.
//! * A receiver that cannot store a message closes the connection at once. Before that it confirms
//!   what it had stored before that message, even unasked, if there is something new to confirm. It
//!   must not deal with what stands behind that message: it comes again.
//! * What a receiver stores is confirmed as one piece only if all of it is stored. It may confirm
//!   late: a sender waits.
//!
//! # A sender with receipts
//!
//! It is at least once. `waiting` and `unconfirmed` are queues of frames, each a length and a
//! payload. Together they are bounded: when they are full, the program may give no message; nor one
//! that is empty or longer than the limit. The socket does not block: where the kernel takes
//! nothing, `n` is 0.
//!
//! ```text
//! pause = 0
//! while more may come, or waiting or unconfirmed is not empty:
//!     sleep pause, up to a quarter less by chance; pause = 2 * pause, from 10 ms to 1 s
//!     connect; if that fails: continue
//!     send 80 00                                           a new socket has room for it
//!     part = confirmed = 0; half = empty; asked = true; ending = refuses = false; since = now
//!     loop:
//!         writes = not ending and (waiting is not empty or not asked)
//!         if no more will come, and waiting and unconfirmed are empty: leave the loop
//!         if not writes and not ending: since = now        nothing is held up
//!         end = since + (write timeout, or in ending the last wait)
//!         poll until end: to read; to write if writes; the program if it may give a message
//!         if the socket is not ready, and end has come: leave the loop    a last look came before
//!         if the program has a message: append its frame to waiting
//!         if there is something to read:
//!             read; at the end of the stream, or an error: leave the loop
//!             for each whole varint in half + what was read, a count and its padding:
//!                 if count is not between confirmed and confirmed + length of unconfirmed:
//!                     leave the loop
//!                 if count > confirmed: pause = 0; since = now
//!                 remove the first count - confirmed of unconfirmed; confirmed = count
//!                 refuses = (padding is 1)
//!                 if padding is 2 and not ending: shutdown(SHUT_WR); ending = true; since = now
//!             half = what is left of that; if it is no number: leave the loop
//!         else if there is room to write:
//!             n = send the first of waiting from byte part on, or 00 if nothing waits
//!             if that failed:
//!                 ending = true; since = now               read on: the last receipts
//!                 if unconfirmed is empty: read what is there, as above, and leave the loop
//!                 continue
//!             since = now
//!             if it was 00: asked = true
//!             else: part = part + n
//!             if part is the length of that frame: part = 0; asked = false; move it to unconfirmed
//!     close
//!     refuses = refuses and (unconfirmed is not empty or part > 0)
//!     put unconfirmed in front of waiting; if refuses: remove and tell of the first
//! ```
//!
//! # A receiver with receipts
//!
//! For each connection, whose socket does not block; connections are served side by side.
//!
//! ```text
//! bytes = empty; count = said = 0; asked = opened = failed = false; first = true
//! loop:
//!     wait until there is something to read, and append it to bytes
//!     over = (it was the end of the stream, or an error); batch = []; due = false; word = 0
//!     while a whole varint stands at the front of bytes, a length and its padding:
//!         if length > limit: over = true; word = 1; leave the inner loop
//!         if the payload is not whole: leave the inner loop
//!         remove both from bytes
//!         if length is 0: due = asked = true; if first and padding is 1: opened = true
//!         else: append the payload to batch
//!         first = false
//!     if what stands there is no number: over = true
//!     stored = store(batch)                                how many, from its beginning
//!     count = count + stored
//!     if stored < length of batch: failed = true
//!     if failed and opened: over = true; word = 0; due = (count > said)
//!     if word is 1 and asked: due = true
//!     if due and (opened or not failed):
//!         said = count; send count, padded by word bytes
//!         if the kernel did not take all of it: over = true   or keep it until there is room
//!     if over, or if failed and asked and there is nothing more to read: close, and leave the loop
//! ```
//!
//! Where a message can't be stored and the connection is not `opened`, it is skipped, and those
//! behind it are stored. Where nothing was `asked`, nobody learns of it.
//!
//! # Refusals
//!
//! A receiver that meets a length above its limit must not read on. If the sender has ever asked on
//! this connection (the opening is a request), it sends a receipt that is padded by one byte, with
//! the count of all messages before the refused one; then it closes the connection. `80 00 81 80 80
//! 05` is answered with `80 00`. A sender that hears this as the last word of a connection gives
//! that message up, also when it has written half of it: it would be refused again for ever. A
//! receiver that did not store everything before that message must not send this word.
//!
//! A length that is no number is no refusal of a message: the receiver answers a request that came
//! before it, and closes. The sender sends again, as after any loss.
//!
//! A sender that never asks only sees the end of the connection. It should have a limit itself:
//! that of the receiver, if it is known; else 10 MiB.
//!
//! # Who may end what, and when
//!
//! | who | how | what the other end does |
//! | --- | --- | --- |
//! | a sender that is done | closes, or ends its sending side (`shutdown(SHUT_WR)`). One that waits for receipts does so once all are there | the receiver deals with all that came, answers what it was asked, and closes |
//! | a sender that gives up | closes. It must when the kernel takes no byte for the write timeout | likewise; half a frame is thrown away |
//! | a receiver that stops, over a Unix socket of Linux | empties its backlog (see below); ends its *receiving* side (`shutdown(SHUT_RD)`), reads on to the end of the stream, answers, closes | the sender's next write fails (`EPIPE`). What the kernel had taken is dealt with. One that waits for receipts must go on reading them until the end of the stream (or until none has come for some time), and only then sends again what they do not cover |
//! | a receiver that stops, over TCP, to a sender that opened so | empties its backlog; sends a receipt that is padded by two bytes; from then on one for each piece that it has stored, unasked and padded so too; and reads on until the sender ends its side or is silent for the farewell | the sender writes nothing more, not even the rest of a frame, ends its sending side, reads receipts to the end (or until none has come for some time), connects anew |
//! | likewise, to any other | empties its backlog; ends its sending side, and reads on until the sender ends its side or is silent for the farewell | the sender reads the end of the stream: it closes, and connects anew |
//! | a receiver to which a sender has been silent | the same three rows, after the idle timeout | likewise. An empty frame in time avoids it |
//! | a receiver that refuses, or could not store | the last receipt, if one is due, then closes | the sender connects anew |
//! | a process that dies | its kernel closes the socket | as above, without a last word: `EPIPE` or `ECONNRESET` on a write, the end of the stream or `ECONNRESET` on a read |
//!
//! Whoever waits in the backlog of a receiver has connected, and may have sent. So a receiver that
//! stops must first see that nobody else connects, and accept all who wait; else what they have
//! sent is lost. On Linux a `shutdown(SHUT_RD)` of the listening Unix socket does that: a `connect`
//! is then refused, and once nobody waits `accept` fails, with `EINVAL`, or with `EAGAIN` where it
//! does not block. (Over TCP it would reset those who wait: there accept until `EAGAIN`, then
//! close.) Where its connections are bounded, it ends those that it has, so that there is a place
//! for those who wait. A listener that a service manager holds is only left alone: its backlog
//! waits for the next start.
//!
//! A sender must not wait for the last receipts for ever: the receiver may hang. It counts from the
//! last receipt that covered something.
//!
//! A sender over TCP that does not heed the word "stops" is told by the end of the stream, after
//! some time or so many bytes. Over TCP a receiver that closes while bytes lie unread resets the
//! connection, and what it said last may be lost with that.
//!
//! A receiver must not end its *sending* side while the connection is to go on: a sender takes the
//! end of the stream for the end of the connection. (The crate's writer goes on over a Unix socket,
//! without receipts.) A write to a connection that has ended raises SIGPIPE, unless that is ignored
//! or the call has `MSG_NOSIGNAL`.
//!
//! A sender that connects anew waits in between, twice as long each time and with some chance in
//! it. It begins anew after a receipt that covered something, or a connection that has lived for a
//! while. `ENOENT` and `ECONNREFUSED` mean that nobody listens yet, and
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
//! | up | a write fails; the kernel takes no byte for the write timeout | close; the message in which it stopped goes out first | down |
//! | up | end of the stream, or an error of a read | close; likewise | down |
//! | up | it is the third connection in a row that ends in the same message | close; give that message up | down |
//! | up | no message waits, and none will come | close | done |
//!
//! A sender, at least once (`waiting` and `unconfirmed` are queues; `confirmed` is a number):
//!
//! | state | event | action | next |
//! | --- | --- | --- | --- |
//! | down | the wait is over | connect; write `80 00`; `confirmed` = 0 | up, or down with a longer wait |
//! | up | a message waits, and `unconfirmed` is below its bound | write it; when the kernel has it whole: from `waiting` to `unconfirmed` | up |
//! | up | no message may be written, and no request stands behind the last one | write `00` | up |
//! | up | nothing was written for some time | write `00`, if no frame is half written | up |
//! | up | no receipt for a request for some time | tell the user; no more | up |
//! | up | the kernel takes no byte for the write timeout | as at the end of the stream; the next timeout is twice as long | down |
//! | up, ending | a receipt for `count`, `confirmed` ≤ `count` ≤ `confirmed` + length of `unconfirmed` | settle the first `count` − `confirmed` of `unconfirmed`; `confirmed` = `count`; note its word | as before |
//! | up, ending | a false receipt | as at the end of the stream, but read no more | down |
//! | up | a receipt with the word "stops" | `shutdown(SHUT_WR)` | ending |
//! | up | a write fails | write nothing more; if `unconfirmed` is empty, only read what is there | ending |
//! | ending | no receipt has covered anything for some time | as at the end of the stream | down |
//! | up, ending | end of the stream, or an error of a read | close; `unconfirmed` goes back before `waiting`, where the half-written message still is; if the last word was "refuses the next", give the first up, of which a byte was written | down |
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
//! | any | silence for the idle timeout; a frame takes too long | end the connection, as [above](#who-may-end-what-and-when) | done |
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
//! # Times and bounds
//!
//! What this crate has, unless set where a setting is named. They suit any other end as well.
//!
//! | of | what | value | setting |
//! | --- | --- | --- | --- |
//! | both | the longest message | 10 MiB | `max_message_len` |
//! | sender | messages that wait or are not confirmed | 10,000 | `max_queued_messages` |
//! | sender | their bytes | 64 MiB | `max_queued_bytes` |
//! | sender | a connect under way, or a full backlog | 1 s | `connect_timeout` |
//! | sender | first wait between connects | 10 ms | `backoff_min` |
//! | sender | longest wait between connects | 1 s | `backoff_max` |
//! | sender | least wait after a loss | 20 ms | |
//! | sender | a connection that has lived so long begins the waits anew | 1 s | |
//! | sender | write timeout; no receipt is told of; last receipts | 1 s | `write_timeout` |
//! | sender | how often the write timeout is doubled | 6 | |
//! | sender | `00` after so much silence | never | `keepalive` |
//! | sender | connections in a row that end in a message, at most once | 3 | |
//! | sender | repeats of a receipt until it counts as false | 1,024 | |
//! | receiver | idle timeout; for a frame, and the time of its bytes that have come at the rate below | 10 s | `idle_timeout` |
//! | receiver | least rate of a frame, in bytes a second | 65,536 | `min_receive_rate` |
//! | receiver | connections at once; more wait in the backlog | 1,024 | `max_connections` |
//! | receiver | farewell: silence after its word that it stops | 3 s | |
//! | receiver | time until the word "stops" counts as not heeded | 10 s | |
//! | receiver | bytes until it does | 64 MiB | |
//!
//! After "stops" the crate's writer waits without end as long as no message waits to be written. On
//! the wire a message has 1 to 2^64 - 1 bytes. Counts below 2^56 leave room for both words; above,
//! a receipt goes out without.
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
//! `examples/clients/vectors.json` is an object. `about` says how its bytes are written, `what`
//! what an entry is about. All other keys:
//!
//! | list | key | meaning |
//! | --- | --- | --- |
//! | `frames` | `bytes` | a stream |
//! | | `messages` | what a receiver stores of it |
//! | | `end` | where the stream ends: "between frames", or "inside a frame" |
//! | | `is_minimal` | a sender that is given `messages`, at most once, writes just `bytes` |
//! | `malformed` | `bytes`, `messages` | likewise; then the receiver closes, though the stream has not ended |
//! | | `why` | "too long" is a refusal, "no number" is none |
//! | `receipts` | `bytes` | a receipt |
//! | | `count`, `word` | what it says; a sender that has sent `count` + 3 messages, at least once, hears it and the end of the stream. With "stops" it ends its side before. On the next connection it sends again all but the first `count`; with "refuses the next" all but one more |
//! | `false_receipts` | `sent`, `bytes` | after so many messages, at least once, a sender hears this, and closes |
//! | | `confirmed` | on the next connection it sends again all but so many |
//! | `conversations` | `role` | who is checked: "receiver" or "sender". The test is the other end |
//! | | `delivery` | of a sender: "at most once" or "at least once" |
//! | | `steps` | one after the other, as below |
//! | | `stored` | what a receiver has stored at the end |
//!
//! | step | what the test does |
//! | --- | --- |
//! | `"from sender": bytes` | for a receiver: sends them. For a sender: reads just these, on a new connection if there is none |
//! | `"from receiver": bytes` | for a sender: sends them. For a receiver: reads receipts until this one comes. It may answer each request by itself, and so say lower counts before it |
//! | `"hand": message` | has the program of the sender send it. "from sender" is read before the next step |
//! | `"messages from sender": [...]` | reads them on a new connection. At least once: behind the opening, with a request behind the last, and maybe more in between |
//! | `"hand more than fits": {"message", "times"}` | hands it so many times, meanwhile reads all, and confirms only when nothing has come for 50 ms and a request is the last that came. It fails where the sender is quiet without a request |
//! | `"receiver refuses": {"length", "until"}` | reads the first length of a connection, and answers requests before it with `00`. If it is `length`, says `80 00` if it was asked, closes, and takes the next connection: at most ten times. If it is that of `until`, reads that, and goes on |
//! | `"sender ends"` | for a receiver: `shutdown(SHUT_WR)`. For a sender: reads the end of the stream, and nothing before it |
//! | `"sender ends inside": bytes` | reads to the end of the stream; what comes is a beginning of these bytes, and not all of them |
//! | `"receiver ends receiving"` | `shutdown(SHUT_RD)` |
//! | `"receiver closes"` | for a sender: closes. For a receiver: reads the end of the stream, and nothing before it |
//!
//! After the last step a sender is ended in order: at least once it ends once all is confirmed.
