"""Sends each line of standard input as a message: python3 send.py [--at-least-once] ADDRESS < FILE

ADDRESS: PATH, unix:PATH, @NAME (Linux) or tcp:HOST:PORT. Until somebody listens there, it tries again and again.
"""
import os
import random
import select
import socket
import sys
import time
from collections import deque

import wire

MOST_QUEUED = 4 << 20  # Bytes. More lines wait with whoever writes them.
WRITE_SIZE = 64 << 10
MIN_WAIT, MAX_WAIT = 0.01, 1.0  # Between two tries to connect, in seconds.
LAST_WAIT = 10  # Seconds, for the next receipt of a reader that takes nothing more.
MOST_CUTS = 3  # Connections in a row that end in the same message: the reader does not take it.


class Sender:
    def __init__(self, address, at_least_once):
        self.address, self.at_least_once = address, at_least_once
        wire.resolve(address)
        self.line = b""  # The beginning of a line.
        self.has_input, self.is_complete = True, True
        self.waiting = deque()  # Frames of which the kernel lacks a byte.
        self.unconfirmed = deque()  # With --at-least-once those that it has, until a receipt covers them.
        self.queued = 0  # The bytes of both.
        self.wait, self.said = MIN_WAIT, ""
        self.cuts = 0  # Connections that have ended in the first waiting message.

    def run(self):
        while not self.is_done():
            began = time.monotonic()
            try:
                with wire.connect(self.address) as self.stream:
                    self.use_connection()
            except (OSError, ValueError) as error:
                if str(error) != self.said:
                    self.said = str(error)
                    print(f"send.py: {self.address}: {error}", file=sys.stderr)
                if time.monotonic() - began >= 1:
                    self.wait = MIN_WAIT
                time.sleep(self.wait * random.uniform(0.5, 1))
                self.wait = min(2 * self.wait, MAX_WAIT)

    def is_done(self):
        return not (self.has_input or self.waiting or self.unconfirmed)

    def use_connection(self):
        self.part = 0  # Bytes of the first waiting frame that the kernel has.
        self.confirmed = 0  # Messages of this connection.
        self.receipt = b""  # The beginning of one.
        self.is_asked = self.may_write = True
        self.is_refused = False
        try:
            if self.at_least_once:
                self.stream.send(b"\x80\x00")  # The opening, for which a new socket has room.
            while not self.is_done():
                self.take_step()
        finally:  # What no receipt covers goes out on the next connection, the oldest first.
            if not self.at_least_once and self.part:
                self.cuts += 1
                self.is_refused = self.cuts == MOST_CUTS
            # What it has no byte of it can't refuse.
            self.is_refused &= bool(self.unconfirmed or self.part)
            self.waiting.extendleft(reversed(self.unconfirmed))
            self.unconfirmed.clear()
            if self.is_refused:
                self.cuts = 0
                self.queued -= len(self.waiting.popleft())
                print("send.py: the reader refuses a message: it is too long", file=sys.stderr)

    def take_step(self):
        poll = select.poll()
        has_more = self.may_write and (self.waiting or not self.is_asked)
        poll.register(self.stream, select.POLLIN | (select.POLLOUT if has_more else 0))
        if self.has_input and self.queued < MOST_QUEUED:
            poll.register(0, select.POLLIN)
        events = dict(poll.poll(None if self.may_write else max(0, self.until - time.monotonic()) * 1000))
        if not events and not self.may_write:
            raise TimeoutError("the reader takes nothing more")
        if 0 in events:
            self.read_lines()
        if events.get(self.stream.fileno(), 0) & ~select.POLLOUT:
            self.read_receipts()
        elif self.stream.fileno() in events:
            self.write()

    def read_lines(self):
        try:
            data = os.read(0, WRITE_SIZE)
        except BlockingIOError:
            return
        except OSError as error:  # What came before it is sent.
            print(f"send.py: standard input: {error}", file=sys.stderr)
            data, self.is_complete = b"", False
        *lines, self.line = (self.line + (data or b"\n")).split(b"\n")
        self.has_input = bool(data)
        for line in lines:
            if len(line) > wire.MAX_MESSAGE:
                print("send.py: a line is too long", file=sys.stderr)
            elif line:  # An empty frame is no message.
                self.waiting.append(wire.varint(len(line)) + line)
                self.queued += len(self.waiting[-1])

    def write(self):
        frames, size = [], 0
        for frame in self.waiting:
            frames.append(frame)
            size += len(frame)
            if size >= WRITE_SIZE:
                break
        ask = b"\x00" if self.at_least_once else b""
        try:
            self.part += self.stream.send(b"".join(frames)[self.part:] + ask)
        except BlockingIOError:
            return
        except OSError:
            # A reader that stops has yet to say how far it got; one that refuses has said so.
            self.end_writing(LAST_WAIT if self.unconfirmed else 0)
            return
        for frame in frames:
            if self.part < len(frame):
                return
            self.part -= len(frame)
            self.cuts = 0
            self.waiting.popleft()
            if self.at_least_once:
                self.unconfirmed.append(frame)
            else:
                self.queued -= len(frame)
        self.is_asked = self.part == len(ask)
        self.part = 0

    def end_writing(self, wait):
        self.may_write, self.until = False, time.monotonic() + wait

    def read_receipts(self):
        data = self.stream.recv(4096)
        if not data:
            raise ConnectionError("the reader has closed the connection")
        self.receipt += data
        while self.at_least_once and (receipt := wire.read_varint(self.receipt)):
            count, size, padding = receipt
            self.receipt = self.receipt[size:]
            if not self.confirmed <= count <= self.confirmed + len(self.unconfirmed):
                raise ValueError("a receipt that cannot be true")
            for _ in range(count - self.confirmed):
                self.queued -= len(self.unconfirmed.popleft())
                self.wait, self.until = MIN_WAIT, time.monotonic() + LAST_WAIT
            self.confirmed, self.is_refused = count, padding == wire.REFUSES
            if padding == wire.STOPS and self.may_write:
                self.end_writing(LAST_WAIT)
                self.stream.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    *options, address = sys.argv[1:]
    sender = Sender(address, "--at-least-once" in options)
    sender.run()
    sys.exit(not sender.is_complete)
