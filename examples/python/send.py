"""Sends each line of standard input as a message to a reader: python3 send.py SOCKET < FILE"""
import socket
import sys


def frame(message):
    """The length, seven bits a byte, the lowest first, all but the last byte with the top bit set; then the message."""
    prefix, length = bytearray(), len(message)
    while length > 0x7F:
        prefix.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([*prefix, length]) + message


with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(sys.argv[1])
    for line in sys.stdin.buffer:
        if message := line.removesuffix(b"\n"):  # A length of 0 is no message.
            connection.sendall(frame(message))
