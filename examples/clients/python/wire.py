"""What both ends need: varints, and sockets by address. The format: src/guide/wire.rs."""
import os
import socket

MAX_MESSAGE = 10 * 1024 * 1024  # A reader takes no longer one, unless it was told to.
REFUSES, STOPS = 1, 2  # What a receipt says beside its count, by the length of its padding.


def varint(number, padding=0):
    """Seven bits a byte, the lowest first; all but the last byte have the top bit set. Padding changes no value."""
    size = max(1, (number.bit_length() + 6) // 7) + padding
    groups = [number >> 7 * place & 0x7F for place in range(size)]
    return bytes([*(group | 0x80 for group in groups[:-1]), groups[-1]])


def read_varint(data, at=0):
    """The number at data[at:], how many bytes it takes, and how many of those are padding. None: more must come."""
    number = 0
    for size, byte in enumerate(data[at:at + 10], 1):
        number |= (byte & 0x7F) << 7 * (size - 1)
        if byte < 0x80 and number < 1 << 64:
            return number, size, size - len(varint(number))
    if len(data) - at < 10:
        return None
    raise ValueError("no 64-bit number")


def resolve(address):
    """The family and the socket's address, of PATH, unix:PATH, @NAME (Linux) or tcp:HOST:PORT."""
    if address.startswith("tcp:"):
        host, port = address[4:].rsplit(":", 1)
        return socket.AF_INET6 if ":" in host else socket.AF_INET, (host.strip("[]"), int(port))
    path = address.removeprefix("unix:")
    return socket.AF_UNIX, "\0" + path[1:] if path.startswith("@") else path


def connect(address):
    family, place = resolve(address)
    stream = socket.socket(family)
    try:
        stream.connect(place)
    except OSError:
        stream.close()
        raise
    stream.setblocking(False)
    return stream


def listen(address):
    family, place = resolve(address)
    listener = socket.socket(family)
    if family != socket.AF_UNIX:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    elif os.path.exists(place) if place[0] != "\0" else False:
        try:
            connect(address).close()  # Somebody listens there: then the bind fails.
        except ConnectionRefusedError:
            os.unlink(place)  # A process that was killed left it.
    listener.bind(place)
    listener.listen(128)
    listener.setblocking(False)
    return listener
