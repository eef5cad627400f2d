"""Writes each message that comes as a line to standard output: python3 receive.py ADDRESS >> FILE

ADDRESS: PATH, unix:PATH, @NAME (Linux) or tcp:HOST:PORT. SIGTERM or an interrupt ends it; over a Unix socket of Linux
whatever was sent until then is still written.
"""
import contextlib
import errno
import selectors
import signal
import socket
import sys

import wire

MOST_CONNECTIONS = 64  # More wait in the backlog.
# Where PYTHONUNBUFFERED is set, sys.stdout.buffer may write a part and say nothing.
OUTPUT = open(1, "wb", closefd=False)


def store(messages):
    """When this returns they are confirmed: a file that must survive a loss of power needs an os.fsync."""
    OUTPUT.writelines(message + b"\n" for message in messages)
    OUTPUT.flush()


class Connection:
    def __init__(self, stream):
        self.stream = stream
        self.bytes = bytearray()  # What has come of the next frame: never more than was sent.
        self.count = 0  # Messages that are stored.
        self.was_asked = False

    def receive(self):
        """Deals with what is there. False: the connection is over."""
        try:
            data = self.stream.recv(256 * 1024)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self.bytes += data
        messages, asks, word, at = [], False, 0, 0
        is_good = bool(data)  # At the end of the stream half a frame is thrown away.
        try:
            while prefix := wire.read_varint(self.bytes, at):
                length, size, _ = prefix
                if length > wire.MAX_MESSAGE:
                    is_good, word = False, wire.REFUSES
                    break
                if len(self.bytes) < at + size + length:
                    break
                if length:
                    messages.append(bytes(self.bytes[at + size:at + size + length]))
                else:  # An empty frame is no message: it asks how many there were.
                    asks = self.was_asked = True
                at += size + length
        except ValueError:
            is_good = False
        del self.bytes[:at]
        if messages:
            store(messages)
        self.count += len(messages)
        if asks or word and self.was_asked:
            is_good &= self.say(wire.varint(self.count, word))
        return is_good

    def say(self, receipt):
        """Never waits. False: there is no room, since the sender does not read what it asked for."""
        try:
            return self.stream.send(receipt) == len(receipt)
        except BlockingIOError:
            return False
        except OSError:
            return True  # Who has gone is noticed when it is read from.


class Receiver:
    def __init__(self, address):
        self.listener, self.is_stopping = wire.listen(address), False
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.connections, self.is_full = set(), False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.stop)

    def run(self):
        while self.selector.get_map():
            for key, _ in self.selector.select():
                if key.fileobj is self.listener:
                    self.accept()
                elif not key.data.receive():
                    self.close(key.fileobj)

    def accept(self):
        is_last = self.is_stopping
        try:
            stream = self.listener.accept()[0]
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                self.be_full()
            elif is_last and error.errno in (errno.EINVAL, errno.EAGAIN):  # Nobody waits.
                self.selector.unregister(self.listener)
                self.listener.close()
                self.end_connections()
            return
        stream.setblocking(False)
        self.selector.register(stream, selectors.EVENT_READ, Connection(stream))
        self.connections.add(stream)
        if len(self.connections) == MOST_CONNECTIONS:
            self.be_full()

    def be_full(self):
        """Nobody is accepted until a connection has ended."""
        if self.connections:
            self.selector.unregister(self.listener)
            self.is_full = True
            if self.is_stopping:
                self.end_connections()

    def close(self, stream):
        self.selector.unregister(stream)
        self.connections.remove(stream)
        stream.close()
        if self.is_full:
            self.is_full = False
            self.selector.register(self.listener, selectors.EVENT_READ)

    def stop(self, *_):
        """From now on nobody connects. Those who wait are accepted, for which places must become free."""
        self.is_stopping = True
        with contextlib.suppress(OSError):  # A second signal.
            self.listener.shutdown(socket.SHUT_RD)
        if self.is_full:
            self.end_connections()

    def end_connections(self):
        """From now on the senders' writes fail. What they have sent is read, up to its end."""
        for stream in self.connections:
            with contextlib.suppress(OSError):
                stream.shutdown(socket.SHUT_RD)


if __name__ == "__main__":
    Receiver(sys.argv[1]).run()
