"""Answers calls, of whatever language: python3 respond.py ADDRESS

Its methods: ping answers with the body; nap with the body, which is how many milliseconds that takes; fail fails with it.
SIGTERM or an interrupt ends it, once what is in hand is answered. ADDRESS: PATH, unix:PATH, @NAME (Linux) or
tcp:HOST:PORT. At a path only its own user may call, elsewhere whoever can connect.
"""
import asyncio
import contextlib
import os
import signal
import socket
import sys

import calls
import wire

MAX_CALL, MAX_REPLY = 1 << 20, 10 << 20
MAX_ERROR = 1000  # Characters.
MOST_OPEN = 1024  # Calls of one connection.
WRITE_WAIT = 10  # Seconds, for a peer that does not read its answers.
LAST_WAIT = 5  # Seconds, for calls that are in hand at the end.


async def ping(body):
    return body


async def nap(body):
    if (milliseconds := int(body)) < 0:
        raise ValueError(f"{milliseconds} milliseconds are no time")
    try:
        await asyncio.sleep(milliseconds / 1000)
    except asyncio.CancelledError:
        print("nobody waits for a nap any more", file=sys.stderr, flush=True)
        raise
    return body


async def fail(body):
    raise RuntimeError(body.decode())


class Connection:
    def __init__(self, responder, reader, writer):
        self.responder, self.reader, self.writer = responder, reader, writer
        self.turn = asyncio.Lock()  # Answers are written one after the other.
        self.open, self.last = {}, 0  # The tasks of open calls by their ids.
        writer.transport.set_write_buffer_limits(0)  # A drain is one to the last byte.

    async def run(self):
        self.responder.connections.add(self)
        try:
            while True:
                await self.write(b"")  # Who does not read its answers is not read from.
                await self.take(await calls.read(self.reader, MAX_CALL))
        except (OSError, EOFError, ValueError):
            pass
        finally:
            for key, task in self.open.items():
                if isinstance(key, int):  # A notification is done though its sender has gone.
                    task.cancel()
            self.responder.connections.discard(self)
            self.writer.close()

    async def take(self, call):
        number = call.get(calls.ID, 0)
        if call.get(calls.CANCEL):
            if task := self.open.pop(number, None):
                task.cancel()
            return
        if number and not self.last < number <= calls.MAX_ID:
            raise ValueError("an id that is no new one")
        self.last = max(self.last, number)
        if self.responder.is_stopping:
            await self.refuse(number, calls.STOPPING, b"the responder stops")
        elif len(self.open) >= MOST_OPEN:
            await self.refuse(number, calls.BUSY, b"too many calls are open")
        else:
            key = number or object()  # A notification.
            task = self.open[key] = asyncio.create_task(self.answer(number, call))
            self.responder.tasks.add(task)
            task.add_done_callback(lambda task: self.end(key, task))

    def end(self, key, task):
        self.open.pop(key, None)
        self.responder.tasks.discard(task)

    async def answer(self, number, call):
        timeout = call.get(calls.TIMEOUT_MS, 0) / 1000 or None
        try:
            reply = await asyncio.wait_for(self.outcome(call), timeout)
        except asyncio.TimeoutError:
            return  # Nobody waits any more.
        await self.reply(number, reply)

    async def outcome(self, call):
        """What the method returns or raises, a TimeoutError of its own too."""
        name = call.get(calls.METHOD, b"").decode(errors="replace")
        try:
            if not (method := self.responder.methods.get(name)):
                raise LookupError(f"there is no method {name!r}")
            # What is no bytes is a TypeError here.
            answer = bytes(memoryview(await method(call.get(calls.BODY, b""))))
            if len(answer) > MAX_REPLY - 64:
                raise ValueError("the answer is too long")
            return {calls.BODY: answer}
        except Exception as error:
            return {calls.ERROR: (str(error) or repr(error))[:MAX_ERROR].encode(errors="replace")}

    async def refuse(self, number, cause, error):
        await self.reply(number, {calls.ERROR: error, calls.CAUSE: cause})

    async def reply(self, number, fields):
        if number:
            await self.write(calls.frame({calls.ID: number, **fields}))

    async def write(self, data):
        """Waits for room first, so that little is held for a peer that does not read."""
        async with self.turn:
            try:
                await asyncio.wait_for(self.writer.drain(), WRITE_WAIT)
                self.writer.write(data)
            except (OSError, asyncio.TimeoutError):
                self.writer.transport.abort()  # That ends the connection.


class Responder:
    def __init__(self, address, methods):
        self.address, self.methods = address, methods
        self.connections, self.tasks, self.is_stopping = set(), set(), False

    async def serve(self, reader, writer):
        await Connection(self, reader, writer).run()

    async def run(self):
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):  # Before the socket is there: whoever sees it may signal us.
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        listener = wire.listen(self.address)
        server = await asyncio.start_server(self.serve, sock=listener)
        await stop.wait()
        place = listener.getsockname()
        if listener.family == socket.AF_UNIX and isinstance(place, str):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(place)
        server.close()
        self.is_stopping = True
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=LAST_WAIT)
        written = [asyncio.create_task(connection.write(b"")) for connection in self.connections]
        if written:
            await asyncio.wait(written, timeout=LAST_WAIT)


if __name__ == "__main__":
    os.umask(0o077)
    asyncio.run(Responder(sys.argv[1], {"ping": ping, "nap": nap, "fail": fail}).run())
