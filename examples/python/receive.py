"""Prints the messages of the first writer that connects, one a line: python3 receive.py SOCKET"""
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


with socket.socket(socket.AF_UNIX) as listener:
    listener.bind(sys.argv[1])
    listener.listen()
    connection = listener.accept()[0]
os.unlink(sys.argv[1])
count = 0
with connection, connection.makefile("rb") as stream:
    for frame in frames(stream):
        if frame:
            sys.stdout.buffer.write(frame + b"\n")
            count += 1
        else:  # An empty frame asks for a receipt: how many messages have been dealt with?
            sys.stdout.buffer.flush()
            with contextlib.suppress(BrokenPipeError):  # Who has gone needs none.
                connection.sendall(varint(count))
