"""Imports modules in the zygote, before it forks, if a script cannot tell the difference.

A copy of the zygote tries it first: a module that starts threads or processes, opens files, prints, reads what is known only of a
run (its WM_ variables), changes signal handlers, the current folder or the environment is left to the runs that want it.
"""
import importlib
import os
import signal
import sys

TRIES = 8  # modules that may be left out before all are
PATIENCE = 15  # seconds that a try may take; the zygote must be up in 30
THREADS = "OPENBLAS_NUM_THREADS"  # its threads would not survive the fork; see _threads_ready

setters = []  # functions that say how many threads a library has


class Unfit(Exception):
    """A module that must not be imported ahead."""


class _Watched(type(os.environ)):
    """The environment while modules are imported: what a run would find there is not known yet."""

    def __getitem__(self, key):
        if isinstance(key, str) and key.startswith(("WM_", "BASE_")):
            raise Unfit("it reads the variable " + key)
        return super().__getitem__(key)

    def __iter__(self):
        raise Unfit("it reads the whole environment")


def preload(names):
    """Imports those of names that can be, in their order; returns them."""
    os.environ[THREADS] = "1"
    try:
        names = _fit(list(names))
        for name in names:
            importlib.import_module(name)
    finally:
        del os.environ[THREADS]
    _find_setters()
    return names if _survives() else []


def _fit(names):
    for _ in range(TRIES):
        if not names:
            break
        bad, why = _try(names)
        if bad is None:
            return names
        print("millrace: %s is not imported ahead: %s" % (bad, why), file=sys.stderr, flush=True)
        names = [n for n in names if n != bad and not n.startswith(bad + ".")]
    return []


def _try(names):
    """Imports names in a copy of this process; returns the first that does not fit, and why."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(read)
            bad, why = _import_all(names, write)
            os.write(write, ("=%s\n%s" % (bad or "", why)).encode("utf-8", "replace")[:4096])
        finally:
            os._exit(0)
    os.close(write)
    said = _read(read, child)
    os.waitpid(child, 0)
    begun, answered, end = said.partition("=")
    if not answered:
        return (begun.split() or names)[-1], "the interpreter did not survive it, or not soon enough"
    bad, _, why = end.partition("\n")
    return bad or None, why


def _read(read, child):
    import select

    with open(read, "rb") as pipe:
        if not select.select([pipe], [], [], PATIENCE)[0]:
            os.kill(child, signal.SIGKILL)
        return pipe.read().decode()


def _import_all(names, progress):
    """Runs in the copy; it says what it begins with, for it may not come to say more."""
    said = os.memfd_create("said")
    os.dup2(said, 1)
    os.dup2(said, 2)
    os.environ.__class__ = _Watched
    before = _state(said)
    name = names[0]
    try:
        for name in names:
            os.write(progress, name.encode() + b"\n")
            importlib.import_module(name)
            _compare(before, _state(said))
    except BaseException as error:
        return name, "%s: %s" % (type(error).__name__, error)
    return None, ""


def _state(said):
    try:
        os.waitpid(-1, os.WNOHANG)
        children = True
    except ChildProcessError:
        children = False
    umask = os.umask(0o022)
    os.umask(umask)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    return {
        "it starts threads": len(os.listdir("/proc/self/task")),
        "it opens files": sorted(os.listdir("/proc/self/fd")),
        "it starts processes": children,
        "it prints": os.fstat(said).st_size,
        "it changes the environment": dict(os.environ._data),
        "it changes the current folder": os.getcwd(),
        "it changes the umask": umask,
        "it handles signals": {n: signal.getsignal(n) for n in signal.valid_signals()},
        "it replaces standard streams": (sys.stdin, sys.stdout, sys.stderr),
    }


def _compare(before, after):
    for what, state in before.items():
        if after[what] != state:
            raise Unfit(what)


# What runs do with modules that many import, for a copy of the zygote to find out which memory that takes.
EXERCISES = {
    "numpy": """
a = module.arange(1000) % 7
(a * 2.5).sum(), a.reshape(10, 100).mean(axis=0).tolist(), module.zeros((8, 8)).dot(module.ones((8, 8)))
""",
    "pandas": """
frame = module.DataFrame({"k": [1, 2, 1, 3] * 50, "v": [1.5, 2.5, None, 4.0] * 50, "s": ["a", "b", "c", "a"] * 50})
frame.groupby("k")["v"].sum().sum(), frame[frame["k"] > 1].sort_values("v").head(3).to_dict("records")
frame["w"] = frame["v"].fillna(0) * 2
frame.merge(frame.groupby("s", as_index=False)["w"].mean(), on="s").describe()
""",
}


def practise():
    """Does what many runs do, in a child of the zygote that ends then."""
    for name, code in EXERCISES.items():
        if name in sys.modules:
            try:
                exec(code, {"module": sys.modules[name]})
            except Exception:
                pass  # a version that knows it otherwise: less is known ahead, and nothing is wrong


# --- threads of OpenBLAS -------------------------------------------------------------------------------------------------
# It makes as many threads as there are cores when it is loaded, and each turns in circles for a while before it sleeps: a job that
# multiplies nothing would pay more for them than for itself. Loaded here it makes none. Told of more and then forked by the C
# library, it stops them, and starts them again in whoever needs them first.


def _find_setters():
    with open("/proc/self/maps") as maps:
        files = {line.split(None, 5)[5].strip() for line in maps if "openblas" in line}
    if not files:
        return
    import ctypes

    for file in sorted(files):
        try:
            library = ctypes.CDLL(file, mode=os.RTLD_NOW | os.RTLD_NOLOAD)
        except OSError:
            continue
        for prefix in ("", "scipy_"):
            for suffix in ("", "64_"):  # the names that end in _ and _64_ are for Fortran, and take a pointer
                setter = getattr(library, prefix + "openblas_set_num_threads" + suffix, None)
                if setter is not None:
                    setter.argtypes, setter.restype = [ctypes.c_int], None
                    setters.append(setter)


def _in_copy(try_it):
    """Whether a copy of this process lives through try_it and finds its result true."""
    child = os.fork()
    if child == 0:
        os._exit(0 if try_it() else 1)
    return os.waitpid(child, 0)[1] == 0


def _threads_ready():
    """Has the libraries know how many threads they may start; false when some were started and did not go away again."""
    set_threads()
    _in_copy(lambda: True)
    return len(os.listdir("/proc/self/task")) == 1


def _survives():
    """Whether jobs can have their threads. They find them prepared, or else each sets its own."""
    if setters and _in_copy(_threads_ready):
        _threads_ready()
        setters.clear()
    return _in_copy(lambda: set_threads() or True)


def set_threads():
    """In a job: as many threads as the library would have made itself."""
    if setters:
        count = min(len(os.sched_getaffinity(0)), 64)
        if count > 1:
            for setter in setters:
                setter(count)
