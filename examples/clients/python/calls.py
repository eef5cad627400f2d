"""What both ends of calls need: frames over asyncio, and Protocol Buffers by hand. The messages: src/calls/calls.proto."""
import wire

# The fields, each with the way in which its value is written: a varint, or a length and bytes.
VARINT, BYTES = 0, 2
ID, BODY = (1, VARINT), (2, BYTES)  # Of both messages.
TIMEOUT_MS, CANCEL, METHOD = (3, VARINT), (4, VARINT), (5, BYTES)  # Of a Call.
ERROR, MORE, CAUSE = (3, BYTES), (4, VARINT), (5, VARINT)  # Of a Reply.
STOPPING, NOT_ALLOWED, BUSY, UNANSWERED = 1, 2, 3, 4  # Causes. The first three: the call was not begun.

MAX_ID = (1 << 63) - 1


def frame(fields):
    """A message of those fields, with its length before it. What is 0 or empty needs no bytes."""
    message = b""
    for (number, kind), value in fields.items():
        if value:
            message += wire.varint(number << 3 | kind)
            message += wire.varint(value) if kind == VARINT else wire.varint(len(value)) + value
    return wire.varint(len(message)) + message


def decode(message):
    """The fields of a message, those that nobody knows too: nobody asks for them."""
    fields, at = {}, 0

    def varint():
        nonlocal at
        if not (read := wire.read_varint(message, at)):
            raise ValueError("a message ends in the midst of a number")
        at += read[1]
        return read[0]

    while at < len(message):
        key = varint()
        kind = key & 7
        if kind == VARINT:
            value = varint()
        elif kind in (1, BYTES, 5):  # The others always have 8 and 4 bytes.
            size = varint() if kind == BYTES else 8 if kind == 1 else 4
            value, at = message[at:at + size], at + size
        else:
            raise ValueError("a field of a kind that proto3 does not have")
        fields[key >> 3, kind] = value
    if at > len(message):
        raise ValueError("a message ends in the midst of a field")
    return fields


async def read(stream, most):
    """The next message. An empty frame says nothing."""
    while True:
        prefix = b""
        while not (length := wire.read_varint(prefix)):
            prefix += await stream.readexactly(1)
        if length[0] > most:
            raise ValueError("a message is too long")
        if length[0]:
            return decode(await stream.readexactly(length[0]))
