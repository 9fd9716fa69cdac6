"""Boots once, then forks one process per job.

    python3 -I -S -B zygote.py [--deps DIR] [--preload MODULE,...] [--once]

Started inside a slot by the forker, with the control socket as descriptor 3. What a job needs is imported and used once
before the first fork, so that a child finds it ready: a first compile() alone costs 2.8 ms. DIR holds installed packages. Each
MODULE is imported ahead too, if it bears that (millrace_preload); when none does, the zygote ends.
--once serves no forker: the process runs the one job that is on descriptor 3 and ends.
"""
import gc
import marshal
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))

WARM_SOURCE = '''
import re, json, datetime
from typing import Optional, List
x = [i for i in range(3)]
class C:
    y: Optional[int] = None
def gen(n: int = 3):
    """doc"""
    for i in range(n):
        yield {"i": i, "s": f"{i!r:>3}"}
async def later(): return await main({})
@staticmethod
def main(a: dict, *rest, b: List[int] = [1], **more) -> dict:
    try:
        with open("/dev/null") as f: f.read()
        assert a is not None, "no"
        return {**a, "b": lambda q: q + -1 if b else 0 and not 1}
    except (OSError, ValueError) as e:
        raise RuntimeError("x") from e
    finally:
        while False: break
'''


# Their at-fork hooks mend locks that a single thread never leaves taken, or do what renew() in millrace_job does.
NEEDLESS_HOOKS = {"random", "threading", "logging", "concurrent.futures.thread", "asyncio.events"}


def watch_hooks():
    """Returns a set of the modules that register at-fork hooks from now on, and the os.register_at_fork to put back."""
    owners, register = set(), os.register_at_fork

    def watched(**hooks):
        owners.add(sys._getframe(1).f_globals.get("__name__"))
        register(**hooks)

    os.register_at_fork = watched
    return owners, register


def hooks_needed(owners):
    """Whether forks must run the at-fork hooks: a package's .pth file may have brought any, and threads as well."""
    import threading

    return not owners <= NEEDLESS_HOOKS or threading.active_count() > 1


def set_paths(deps):
    """The standard library (all that -I -S leaves) and deps; nothing else of the host."""
    sys.path[:] = [p for p in sys.path if p and os.path.abspath(p) != HERE]
    if deps:
        sys.path.append(deps)
        if any(name.endswith(".pth") for name in os.listdir(deps)):
            import site

            site.addsitedir(deps)


class Apart:
    """Finds the modules beside this file, compiled by a copy of this process: what compiling leaves in memory, in pieces between what
    stays, goes with the copy. Those that only some jobs need wait here, packed, for the job that imports them."""

    def __init__(self):
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.close(read)
                with open(write, "wb") as out:
                    marshal.dump({name: marshal.dumps(self._compile(name)) for name in self._names()}, out)
                status = 0
            finally:
                os._exit(status)
        os.close(write)
        with open(read, "rb") as told:
            data = told.read()
        if os.waitpid(child, 0)[1]:
            sys.exit("millrace: the modules in %s cannot be compiled" % HERE)
        self.packed = marshal.loads(data)

    @staticmethod
    def _path(name):
        return os.path.join(HERE, name + ".py")

    @staticmethod
    def _names():
        return [f[:-3] for f in os.listdir(HERE) if f.startswith("millrace_") and f.endswith(".py")]

    def _compile(self, name):
        with open(self._path(name), "rb") as source:
            return compile(source.read(), self._path(name), "exec", dont_inherit=True)

    def _unpack(self, name):
        return marshal.loads(self.packed.pop(name))

    def find_spec(self, name, path=None, target=None):
        if name not in self.packed:
            return None
        from importlib.machinery import SourceFileLoader
        from importlib.util import spec_from_file_location

        loader = SourceFileLoader(name, self._path(name))
        loader.get_code = self._unpack
        return spec_from_file_location(name, self._path(name), loader=loader)


class Own:
    """A context in which the modules beside this file can be imported. Their folder is on no job's path."""

    apart = None  # of a zygote, made at the first use
    once = "--once" in sys.argv

    def __enter__(self):
        sys.path.insert(0, HERE)
        if not Own.once:
            Own.apart = Own.apart or Apart()
            sys.meta_path.insert(0, Own.apart)

    def __exit__(self, *_):
        sys.path.remove(HERE)
        if Own.apart in sys.meta_path:
            sys.meta_path.remove(Own.apart)


def import_own():
    """Imports the modules beside this file that all jobs need."""
    with Own():
        forker = None
        if not Own.once:
            import _millrace_forker as forker

            forker.gather()
        import millrace_late as late

        late.hold()
        import millrace_job as job
        import millrace_learn  # noqa: F401 for processes that are asked what they import
    job.own = Own
    return job, forker, late


def add_site_builtins():
    """exit, quit and help are made by site, which is not run."""
    import builtins

    import _sitebuiltins

    builtins.exit = _sitebuiltins.Quitter("exit", "sys.exit()")
    builtins.quit = _sitebuiltins.Quitter("quit", "sys.exit()")


def line_buffer():
    """Output of a job is a pipe; it must arrive while the job runs."""
    for name, fd in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is None:
            stream = open(fd, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
            setattr(sys, name, stream)
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)


def warm(job):
    """Does once what every job does, and imports what many jobs import."""
    import base64, collections, contextlib, csv, datetime, decimal, functools, io, itertools, logging  # noqa
    import math, operator, pathlib, random, re, shutil, string, subprocess, tempfile, threading, time, typing  # noqa
    import urllib.parse, uuid  # noqa

    job.rehearse(WARM_SOURCE)
    job.prepare()
    job.forget()


def import_ahead(job):
    """Imports what --preload names."""
    if "--preload" not in sys.argv:
        return
    names = sys.argv[sys.argv.index("--preload") + 1].split(",")
    if "asyncio" in names:
        job.rehearse_coroutines()
    with Own():
        import millrace_preload
    if not millrace_preload.preload(names):
        sys.exit("millrace: none of the modules can be imported ahead")
    if "asyncio" in sys.modules and "asyncio" not in names:
        job.rehearse_coroutines()
    job.forget()


def fill_holes():
    """Takes the free places between the zygote's objects, so that the objects of a job come to lie together in fresh memory: each
    page of the zygote that a job writes to must be copied. What lies 48 bytes into a page opens a new pool of the allocator."""
    kept = []
    for size in range(48, 513, 16):
        for _ in range(20000):
            block = bytes(size - 33)
            if id(block) & 4095 == 48:
                break
            kept.append(block)
    return kept


def main():
    owners, register = watch_hooks()
    deps = sys.argv[sys.argv.index("--deps") + 1] if "--deps" in sys.argv else ""
    set_paths(deps)
    job, forker, late = import_own()
    add_site_builtins()
    line_buffer()
    if forker is None:
        os.register_at_fork = register
        late.release()
        job.run_job()
        return
    warm(job)
    late.release()
    import_ahead(job)
    os.register_at_fork = register
    sys.argv[:] = ["main.py"]
    gc.collect()
    gc.freeze()
    needed = hooks_needed(owners)
    holes = fill_holes()  # noqa: F841 kept until the end
    forker.serve(3, job.run_job, needed, job.practise)


main()
