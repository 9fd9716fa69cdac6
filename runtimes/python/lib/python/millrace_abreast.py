"""The workflows of one script, side by side in one process: each is a task of one event loop.

They wait most of the time, for commits, tasks, people. What belongs to one of them has the frame I with its number before it.

  in   I V H A  begins one (H: it was begun before)   I K  answers one   I X  one is not wanted any more
  out  C  first of all   I W  asks   I O  what one prints   I X  one does nothing any more   I R, I E  its end   G  the process will end

Each has environment variables of its own, and what it prints from Python is in its own log. All else they share.
"""
import asyncio
import io
import json
import os
import struct
import sys
import threading

import millrace_job as job
import millrace_share as share
import millrace_values as values
import millrace_workflow as workflows

FD = 3
MOST_DROPPED = 1000  # workflows that were dropped and cannot be cleared away
_header = struct.Struct("<BI")
_number = struct.Struct("<BIQ")
_entered = None  # whose variables programs find that are started
_plain = {}  # variables outside of all workflows


class _Environ(os._Environ):
    """os.environ, in which each workflow finds its own variables."""

    @property
    def _data(self):
        run = workflows.current()
        return _plain if run is None else run.variables


class _Log(io.TextIOBase):
    """Standard output or error: what a workflow prints goes into its log."""

    encoding, errors = "utf-8", "backslashreplace"

    def __init__(self, plain):
        self.plain, self.buffer = plain, plain.buffer

    def write(self, text):
        run = workflows.current()
        if run is None:
            return self.plain.write(text)
        run.text.append(text)
        if "\n" in text:
            run.say()
        return len(text)

    def writable(self):
        return True

    def flush(self):
        run = workflows.current()
        if run is None:
            self.plain.flush()
        else:
            run.say()

    def fileno(self):
        return self.plain.fileno()

    def reconfigure(self, **_):
        pass

    def close(self):
        pass


class _Run(workflows.Run):
    """One of the workflows."""

    def __init__(self, server, number, variables):
        super().__init__(server.filename)
        self.server, self.number, self.variables = server, number, variables
        self.dropped, self.text, self.stores = False, [], {}
        self.opened = self.task = None

    def send(self, kind, data):
        if not self.dropped:
            self.server.send(self.number, kind, data)

    def say(self):
        """Passes on what was printed, at once: the function that prints may go on for long."""
        text, self.text = self.text, []
        if text and not self.dropped:
            self.server.say(self.number, "".join(text).encode("utf-8", "backslashreplace"))

    def enter(self):
        """Makes the variables those of programs that are started now."""
        global _entered
        if _entered is not self:
            before = {} if _entered is None else _entered.variables
            for name, value in self.variables.items():
                if before.get(name) != value:
                    os.putenv(name, value)
            for name in before.keys() - self.variables.keys():
                os.unsetenv(name)
            _entered = self

    async def open(self):
        self.opened = asyncio.get_running_loop().create_future()
        self._ask({"op": "open"})
        await self.opened

    async def earlier(self, kind, key):
        if self.dropped:
            await _never()
        return await super().earlier(kind, key)

    def storing(self, key):
        future = self.stores[key] = asyncio.get_running_loop().create_future()
        return future

    def listen(self):
        pass  # the server does

    async def end(self, message):
        """Ends this workflow: code that strays from its way must not go on, whatever it catches."""
        self.server.over(self, "E", workflows.nondeterminism(message))
        self.server.drop(self)
        await _never()

    def answer(self, got):
        key = got.get("key")
        if "opened" in got:
            self.opened.set_result(None)
            return
        future = self.stores.pop(key, None) if got.get("stored") else self.waiting.pop(key, None)
        if future is None:
            self.history[key] = got
        elif not future.done():
            future.set_result(got)


async def _never():
    await asyncio.get_running_loop().create_future()


class _Server:
    """The conversation on descriptor 3."""

    def __init__(self, function, filename, around):
        self.function, self.filename, self.variables = function, filename, around.variables
        self.runs, self.dropped, self.ended, self.leaves = {}, [], 0, False
        self.data, self.wanted = bytearray(), 5  # what has come of a frame, and how much of it must have come
        self.out, self.due, self.lock = [], False, threading.Lock()
        self.number, self.before = 0, False

    # --- out ---

    def send(self, number, kind, payload):
        self.out.append(_number.pack(73, 8, number) + _header.pack(ord(kind), len(payload)))
        self.out.append(payload)
        if not self.due:
            self.due = True
            self.loop.call_soon(self.flush)  # after all that goes on in this turn of the loop

    def say(self, number, text):
        with self.lock:
            self._write(_number.pack(73, 8, number) + _header.pack(79, len(text)) + text)

    def flush(self):
        with self.lock:
            self.due, out = False, self.out
            self.out = []
            self._write(b"".join(out))

    @staticmethod
    def _write(data):
        sent = os.write(FD, data)
        while sent < len(data):
            sent += os.write(FD, memoryview(data)[sent:])

    # --- in ---

    def read(self):
        piece = os.read(FD, 1 << 18)
        if not piece:
            if self.runs:
                os._exit(1)  # the server has gone
            self.closed.set_result(None)
            return
        if not self.data:
            self.take(piece)
            return
        self.data += piece  # grows in place: what has come of a large frame is not copied again with each piece
        if len(self.data) >= self.wanted:
            self.take(self.data)

    def take(self, data):
        at, self.wanted = 0, 5
        while len(data) - at >= 5:
            kind, size = _header.unpack_from(data, at)
            end = at + 5 + size
            if len(data) < end:
                self.wanted = end - at
                break
            self.frame(kind, bytes(data[at + 5 : end]))
            at = end
        self.data = bytearray(data[at:])

    def frame(self, kind, payload):
        if kind == 73:  # 'I'
            self.number = int.from_bytes(payload, "little")
        elif kind == 75:  # 'K'
            run = self.runs.get(self.number)
            if run is not None:
                run.answer(values.decode(payload))
        elif kind == 86:  # 'V'
            self.change(values.decode(payload))
        elif kind == 72:  # 'H'
            self.before = True
        elif kind == 65:  # 'A'
            before, self.before = self.before, False
            self.begin(payload, before)
        elif kind == 88:  # 'X'
            run = self.runs.get(self.number)
            if run is not None:
                self.drop(run)
                self.send(self.number, "X", b"")

    def change(self, changes):
        variables = dict(self.variables)
        for name, value in changes.items():
            if not name or "\0" in name or "=" in name or value is not None and "\0" in value:
                continue
            if value is None:
                variables.pop(os.fsencode(name), None)
            else:
                variables[os.fsencode(name)] = os.fsencode(value)
        self.variables = variables

    # --- runs ---

    def begin(self, args, before):
        run = self.runs[self.number] = _Run(self, self.number, dict(self.variables))
        run.task = self.loop.create_task(self.execute(run, args, before))

    async def execute(self, run, args, before):
        try:
            workflows.enter(run)
            if before:
                await run.open()
            payload = values.encode(await run.whole(self.function, *values.bind(self.function, values.decode(args))))
            if len(payload) > job.MAX_PAYLOAD:
                raise job.Failure("ResultError", "the result is %d bytes of JSON; the most is 64 MiB" % len(payload))
            kind = "R"
        except GeneratorExit:
            raise
        except BaseException as error:
            kind, payload = share._failed(error, self.filename)
            if isinstance(error, MemoryError):
                self.leave()
        self.over(run, kind, payload)

    def over(self, run, kind, payload):
        """Answers for a run, unless it is not wanted any more."""
        if self.runs.pop(run.number, None) is None:
            return
        run.say()
        run.send(kind, payload)
        self.ended += 1
        if self.ended % share.CHECK_EVERY == 0 and share._piled_up():
            self.leave()

    def drop(self, run):
        """Forgets a run. Its code must not go on, nor be cleared away, which would run what it has in its finally blocks."""
        self.runs.pop(run.number, None)
        run.dropped = True
        self.dropped.append(run)
        if len(self.dropped) >= MOST_DROPPED:
            self.leave()

    def leave(self):
        if not self.leaves:
            self.leaves = True
            self.out.append(_header.pack(71, 0))

    async def serve(self, number, args, before, rest):
        self.loop = asyncio.get_running_loop()
        self.closed = self.loop.create_future()
        self.out.append(_header.pack(67, 0))
        self.number = number
        self.begin(args, before)
        self.take(rest)
        self.flush()
        self.loop.add_reader(FD, self.read)
        await self.closed


def serve(function, filename, around, first, rest):
    """Runs workflows until there are no more; first is the number, arguments and history of one."""
    global _plain
    _plain = dict(around.environ._data)
    around.environ.__class__ = _Environ
    sys.stdout, sys.stderr = _Log(sys.stdout), _Log(sys.stderr)
    try:
        asyncio.run(_Server(function, filename, around).serve(*first, rest))
        job._finish()
        job._flush()
        os._exit(0)
    except BaseException as error:
        print("millrace: the process of the workflows cannot go on: %r" % (error,), file=sys.stderr, flush=True)
    finally:
        os._exit(1)
