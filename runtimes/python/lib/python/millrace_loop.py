"""Runs a coroutine as asyncio.run does, in an event loop that has nothing of its own until somebody waits.

A loop of asyncio begins with two sockets and an epoll, and ends with what it might have to clear up. Most coroutines of scripts never
wait for anything that needs them, and a process that has been forked for one job pays for each page that is touched for the first time.
So this loop makes those when it is to wait, or when something is to be watched, and the zygote has one ready for its children.
"""
import asyncio
import selectors

_ready = None  # a loop that nobody has used


class _Later:
    """A selector that is made when it is needed."""

    def __init__(self, loop):
        self.loop, self.real = loop, None

    def _made(self):
        if self.real is None:
            self.real = selectors.DefaultSelector()
            self.loop.make_pipe()
        return self.real

    def select(self, timeout=None):
        if self.real is None:
            if timeout is not None and timeout <= 0:
                return []
            # A thread may have had something to say before there was a pipe for it: the loop looks once more before it waits.
            self._made()
            return []
        return self.real.select(timeout)

    def register(self, fileobj, events, data=None):
        return self._made().register(fileobj, events, data)

    def unregister(self, fileobj):
        return self._made().unregister(fileobj)

    def modify(self, fileobj, events, data=None):
        return self._made().modify(fileobj, events, data)

    def get_key(self, fileobj):
        return self._made().get_key(fileobj)

    def get_map(self):
        return self._made().get_map()

    def close(self):
        if self.real is not None:
            self.real.close()


class Loop(asyncio.SelectorEventLoop):
    def __init__(self):
        self._ssock = self._csock = None
        super().__init__(_Later(self))

    def _make_self_pipe(self):
        """It is too early for that."""

    def make_pipe(self):
        if self._csock is None:
            super()._make_self_pipe()

    def _close_self_pipe(self):
        if self._csock is not None:
            super()._close_self_pipe()

    def add_signal_handler(self, sig, callback, *args):
        self.make_pipe()
        super().add_signal_handler(sig, callback, *args)


def prepare():
    """Makes a loop for the next run, here or in a child."""
    global _ready
    _ready = Loop()


def run(coroutine):
    """What asyncio.run does."""
    global _ready
    if asyncio._get_running_loop() is not None:
        return asyncio.run(coroutine)  # which says what is wrong
    loop, _ready = _ready or Loop(), None
    try:
        return loop.run_until_complete(coroutine)
    finally:
        _end(loop)


def _end(loop):
    try:
        left = asyncio.all_tasks(loop)
        if left:
            _cancel(loop, left)
        if loop._asyncgens:
            loop.run_until_complete(loop.shutdown_asyncgens())
        if loop._default_executor is not None:
            loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()


def _cancel(loop, tasks):
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    for task in tasks:
        if not task.cancelled() and task.exception() is not None:
            loop.call_exception_handler(
                {"message": "unhandled exception during asyncio.run() shutdown", "exception": task.exception(), "task": task}
            )
