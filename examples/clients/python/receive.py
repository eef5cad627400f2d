"""Prints the messages of the first writer that connects, one a line: python3 receive.py ADDRESS

ADDRESS: PATH, unix:PATH, @NAME (Linux), tcp:HOST:PORT, fd:N (a connected socket or a pipe), or - (standard input).
"""
import contextlib
import os
import socket
import sys


def frames(stream):
    length = shift = 0
    while byte := stream.read(1):
        length |= (byte[0] & 0x7F) << shift  # Seven bits of the length, the lowest first.
        shift += 7
        if byte[0] < 0x80:  # That was the last byte of the length.
            frame = stream.read(length)
            if len(frame) == length:  # Else it is a half one at the end.
                yield frame
            length = shift = 0


def varint(number):
    if number < 0x80:
        return bytes([number])
    return bytes([number & 0x7F | 0x80]) + varint(number >> 7)


def accept(address):
    """The descriptor of the writer's stream."""
    if address == "-":
        return 0
    if address.startswith("fd:"):
        return int(address[3:])
    if address.startswith("tcp:"):
        host, port = address[4:].rsplit(":", 1)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.create_server((host.strip("[]"), int(port)), family=family) as listener:
            return listener.accept()[0].detach()
    path = address.removeprefix("unix:")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("\0" + path[1:] if path.startswith("@") else path)
        listener.listen()
        connection = listener.accept()[0]
    if not path.startswith("@"):
        os.unlink(path)
    return connection.detach()


count = 0
with contextlib.suppress(ConnectionResetError), open(accept(sys.argv[1]), "rb") as stream:
    for frame in frames(stream):
        if frame:
            sys.stdout.buffer.write(frame + b"\n")
            count += 1
        else:  # An empty frame asks for a receipt: how many messages have been dealt with?
            sys.stdout.buffer.flush()
            with contextlib.suppress(ConnectionError):  # Who has gone needs none.
                os.write(stream.fileno(), varint(count))
