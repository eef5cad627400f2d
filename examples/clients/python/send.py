"""Sends each line of standard input as a message to a reader: python3 send.py ADDRESS < FILE

ADDRESS: PATH, unix:PATH, @NAME (Linux), tcp:HOST:PORT, fd:N (a connected socket or a pipe), or - (standard output).
"""
import socket
import sys


def frame(message):
    """The length, seven bits a byte, the lowest first, all but the last byte with the top bit set; then the message."""
    prefix, length = bytearray(), len(message)
    while length > 0x7F:
        prefix.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([*prefix, length]) + message


def connect(address):
    """The descriptor of a stream to the reader."""
    if address == "-":
        return 1
    if address.startswith("fd:"):
        return int(address[3:])
    if address.startswith("tcp:"):
        host, port = address[4:].rsplit(":", 1)
        return socket.create_connection((host.strip("[]"), int(port))).detach()
    path = address.removeprefix("unix:")
    connection = socket.socket(socket.AF_UNIX)
    connection.connect("\0" + path[1:] if path.startswith("@") else path)
    return connection.detach()


with open(connect(sys.argv[1]), "wb") as stream:
    for line in sys.stdin.buffer:
        if message := line.removesuffix(b"\n"):  # A length of 0 is no message.
            stream.write(frame(message))
            stream.flush()
