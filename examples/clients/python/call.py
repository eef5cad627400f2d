"""Calls a responder, of whatever language: python3 call.py ADDRESS [SECONDS] < FILE

Each line of standard input, METHOD [BODY], is a call, made at once. As the answers come they are printed, with the number
of the line: "1 = ANSWER", or "1 ! ERROR". Bodies and answers are bytes, and printed as they are. SECONDS is how long each
waits, 5 unless given. The exit code is 1 where one failed. ADDRESS: PATH, unix:PATH, @NAME (Linux) or tcp:HOST:PORT.
"""
import asyncio
import signal
import socket
import sys
import time

import calls
import wire

MAX_CALL, MAX_REPLY = 1 << 20, 10 << 20
MOST_OPEN = 1024  # Calls. A responder may refuse more of one connection.
MIN_WAIT, MAX_WAIT = 0.01, 0.25  # Between two tries to connect, in seconds.
LOST = "the connection was lost: unknown whether the call was done"


class CallError(Exception):
    def __init__(self, text, may_have_been_done):
        super().__init__(text)
        self.may_have_been_done = may_have_been_done


class Connection:
    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.turn = asyncio.Lock()  # Calls are written one after the other.
        self.open, self.last, self.is_lost = {}, 0, False  # The open calls by their ids.
        self.task = asyncio.create_task(self.receive())

    async def receive(self):
        try:
            while True:
                reply = await calls.read(self.reader, MAX_REPLY)
                number = reply.get(calls.ID, 0)
                if not 0 < number <= self.last:
                    raise ValueError("an answer to no call")
                answer = self.open.get(number)
                if answer is None or answer.done():
                    continue  # Nobody waits any more.
                if reply.get(calls.MORE):  # Whoever asked stops it.
                    answer.set_exception(CallError("the call has several answers", True))
                    continue
                del self.open[number]
                if error := reply.get(calls.ERROR):
                    not_begun = calls.STOPPING, calls.NOT_ALLOWED, calls.BUSY
                    is_begun = reply.get(calls.CAUSE, 0) not in not_begun
                    answer.set_exception(CallError(error.decode(errors="replace"), is_begun))
                else:
                    answer.set_result(reply.get(calls.BODY, b""))
        except (OSError, EOFError, ValueError):
            pass
        finally:
            self.is_lost = True
            self.writer.close()
            for answer in self.open.values():
                if not answer.done():
                    answer.set_exception(CallError(LOST, True))
            self.open.clear()

    def send(self, fields):
        """Gives the call the next id; returns that, and what becomes its answer."""
        self.last += 1
        answer = self.open[self.last] = asyncio.get_running_loop().create_future()
        self.writer.write(calls.frame({calls.ID: self.last, **fields}))
        return self.last, answer

    def forget(self, number):
        """A call that is still open is cancelled at the other end."""
        if self.open.pop(number, None) and not self.is_lost:
            self.writer.write(calls.frame({calls.ID: number, calls.CANCEL: 1}))


class Caller:
    """Any number of tasks call at once, over one connection; those above MOST_OPEN wait for room. It is made by the first
    call, and again after a loss. Nothing is sent twice."""

    def __init__(self, address):
        self.place = wire.resolve(address)
        self.room, self.connecting = asyncio.Semaphore(MOST_OPEN), asyncio.Lock()
        self.connection, self.trouble = None, None

    async def call(self, method, body=b"", timeout=5.0):
        """The answer, or a CallError."""
        fields = {calls.METHOD: method.encode(), calls.BODY: body}
        if len(calls.frame(fields)) > MAX_CALL - 64:  # Its id and its time come to it.
            raise CallError("the call is too long", False)
        until = time.monotonic() + timeout
        try:
            connection, number, answer = await asyncio.wait_for(self.begin(fields, until), timeout)
        except asyncio.TimeoutError:
            trouble = f" ({self.trouble})" if self.trouble else ""
            raise CallError(f"the call could not be sent in time: it was not done{trouble}", False) from None
        try:
            return await asyncio.wait_for(answer, until - time.monotonic())
        except asyncio.TimeoutError:
            raise CallError("no answer in time: unknown whether the call was done", True) from None
        finally:
            connection.forget(number)
            self.room.release()

    async def begin(self, fields, until):
        """Writes the call once there is a connection with room."""
        await self.room.acquire()
        try:
            while True:
                connection = await self.connected()
                async with connection.turn:
                    try:
                        await connection.writer.drain()
                    except OSError:
                        connection.is_lost = True
                    if not connection.is_lost:
                        left = max(1, int(1000 * (until - time.monotonic())))
                        return connection, *connection.send({**fields, calls.TIMEOUT_MS: left})
        except BaseException:
            self.room.release()
            raise

    async def connected(self):
        wait = MIN_WAIT
        async with self.connecting:
            while self.connection is None or self.connection.is_lost:
                try:
                    self.connection, self.trouble = await self.connect(), None
                except OSError as error:
                    self.trouble = error
                    await asyncio.sleep(wait)
                    wait = min(2 * wait, MAX_WAIT)
            return self.connection

    async def connect(self):
        family, place = self.place
        stream = socket.socket(family)
        try:
            stream.setblocking(False)
            if family == socket.AF_UNIX:
                stream.connect(place)  # Which never waits: with a full backlog it fails.
            else:
                await asyncio.get_running_loop().sock_connect(stream, place)
            return Connection(*await asyncio.open_connection(sock=stream))
        except BaseException:
            stream.close()
            raise


async def main(address, seconds):
    caller, tasks = Caller(address), []

    async def answer(number, line):
        method, _, body = line.rstrip(b"\n").partition(b" ")
        try:
            said = b"= " + await caller.call(method.decode(), body, seconds)
        except (CallError, UnicodeDecodeError) as error:
            said = b"! " + str(error).encode()
        sys.stdout.buffer.write(b"%d %b\n" % (number, said))
        sys.stdout.buffer.flush()
        return said.startswith(b"=")

    while line := await asyncio.to_thread(sys.stdin.buffer.readline):
        tasks.append(asyncio.create_task(answer(len(tasks) + 1, line)))
    return all(await asyncio.gather(*tasks))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # It ends the thread that reads standard input too.
    wait = float(sys.argv[2]) if len(sys.argv) > 2 else 5.0
    if not 0 < wait < 1 << 32:
        sys.exit(f"{wait}: seconds are more than 0, and less than 2^32")
    sys.exit(not asyncio.run(main(sys.argv[1], wait)))
