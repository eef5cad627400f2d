"""Prints the messages of the first writer that connects, one a line: python3 receive.py SOCKET"""
import os
import socket
import sys


def messages(stream):
    length = shift = 0
    while byte := stream.read(1):
        length |= (byte[0] & 0x7F) << shift  # Seven bits of the length, the lowest first.
        shift += 7
        if byte[0] < 0x80:  # That was the last byte of the length.
            message = stream.read(length)
            if message and len(message) == length:  # Neither an empty frame nor a half one at the end.
                yield message
            length = shift = 0


with socket.socket(socket.AF_UNIX) as listener:
    listener.bind(sys.argv[1])
    listener.listen()
    connection = listener.accept()[0]
os.unlink(sys.argv[1])
with connection, connection.makefile("rb") as stream:
    for message in messages(stream):
        sys.stdout.buffer.write(message + b"\n")
