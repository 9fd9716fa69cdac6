"""The environment of a job. It comes as one piece of memory, name=value and a zero byte for each variable, and stays that: C's environ
points into it, and os.environ looks into it when it is first asked. To set thirty variables one by one has a job write to fifty pages
of the zygote, each of which is copied then; most scripts read none or one.
"""
import os
import threading

try:
    from _millrace_forker import environ as _point
except ImportError:  # a process that serves no forker

    def _point(block):
        for name, value in pairs(block):
            os.putenv(name, value)


_Environ = type(os.environ)


def pairs(block):
    """The variables of a block as pairs of bytes."""
    return [entry.split(b"=", 1) for entry in block.split(b"\0") if entry]


_filling = threading.Lock()


class _Late(_Environ):
    """An environment that makes its dictionary when that is first asked for."""

    def __getattr__(self, name):
        if name != "_data":
            raise AttributeError("%r object has no attribute %r" % (_Environ.__name__, name))
        with _filling:
            data, block = late = self._late
            data.update(pairs(block))
            late[1] = b""  # a shallow copy, which has the same dictionary, must not do it again
            for known in (self, os.environ, os.environb):
                if getattr(known, "_late", None) is late:
                    known._data = data
        return data


def prepare():
    """Has os.environ be one that take can add to, which is for the zygote to do: each class that a job changes is a page."""
    late = [os.environ._data, b""]
    for known in (os.environ, os.environb):
        known._late = late
        known.__class__ = _Late


def take(block):
    """Adds the variables of a block to the environment, as of now."""
    if type(os.environ) is not _Late:
        prepare()
    _point(block)
    os.environ._late[1] = block
    del os.environ._data, os.environb._data
