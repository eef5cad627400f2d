"""What both ends need: varints, and sockets by address. The format: src/guide/wire.rs."""
import errno
import os
import socket
import stat
import sys

MAX_MESSAGE = 10 * 1024 * 1024  # A reader takes no longer one, unless it was told to.
MAX_PATH = 107 if sys.platform == "linux" else 103
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
    """The family and the socket's address, of PATH, unix:PATH, @NAME (Linux) or tcp:HOST:PORT. Ends the program where
    it is none of them."""
    if address.startswith("tcp:"):
        host, _, port = address[4:].rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65535:
            sys.exit(f"{address}: not tcp:HOST:PORT")
        return socket.AF_INET6 if ":" in host else socket.AF_INET, (host.strip("[]"), int(port))
    path = address.removeprefix("unix:")
    if not 0 < len(os.fsencode(path)) <= MAX_PATH:
        sys.exit(f"{address}: a path has 1 to {MAX_PATH} bytes")
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


def is_left(path):
    """Whether a process that was killed left its socket there. Of any other file, and where somebody listens (on Linux
    a full backlog is EAGAIN), the bind fails."""
    if not os.path.lexists(path) or not stat.S_ISSOCK(os.lstat(path).st_mode):
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        return probe.connect_ex(path) == errno.ECONNREFUSED


def listen(address):
    family, place = resolve(address)
    listener = socket.socket(family)
    if family != socket.AF_UNIX:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    elif place[0] != "\0" and is_left(place):
        os.unlink(place)
    listener.bind(place)
    listener.listen(128)
    listener.setblocking(False)
    return listener
