"""Many runs of one script in one process, one after the other.

Frames in, for each run: I number (8 bytes, little-endian), V changes of the environment (null removes), A arguments. Out: T
chunks, then I and R or E in one piece; G when the process will begin no further run. The end of the input ends the process.

What a run leaves behind in the interpreter stays: module globals, that is the point, and with them threads, files in the work
folder, what was registered with atexit. What the next run must find as a first one would is put back: environment, current
folder, umask, standard streams, signal handlers, timers.

Workflows go on side by side instead: once the script turns out to be one, millrace_abreast takes over.
"""
import fcntl
import json
import os
import signal
import struct
import sys
import time

import millrace_job as job
import millrace_values as values

FD = 3
_header = struct.Struct("<BI")
_answered = struct.Struct("<BIQBI")
_ENCODING = sys.getfilesystemencoding()
CHECK_EVERY = 256  # runs between two looks at what has piled up


class Runs:
    """The requests on descriptor 3, of which several may have come at once."""

    def __init__(self, data):
        self.data, self.at = data, 0
        self.begun_before = False  # the last that was taken, a workflow

    def next(self):
        """Returns number, environment changes (or None) and arguments; None when there are no more."""
        number, changes, self.begun_before = 0, None, False
        while True:
            data, at = self.data, self.at
            while len(data) - at >= 5:
                kind, size = _header.unpack_from(data, at)
                end = at + 5 + size
                if len(data) < end:
                    break
                payload = data[at + 5 : end]
                at = self.at = end
                if kind == 65:  # 'A'
                    return number, changes, payload
                if kind == 73:  # 'I'
                    number = int.from_bytes(payload, "little")
                elif kind == 86:  # 'V'
                    changes = payload
                elif kind == 72:  # 'H'
                    self.begun_before = True
            rest = data[at:]
            more = job._read_more(rest) if rest else os.read(FD, 1 << 16)
            if not more:
                return None
            self.data, self.at = more, 0


    def rest(self):
        """What has come beyond the requests that were taken."""
        return self.data[self.at :]


class Signals:
    """Remembers which handlers and timers a run has set, so that only those need to be put back."""

    def __init__(self):
        self.changed, self.timers = {}, False
        self.set, self.alarm, self.setitimer = signal.signal, signal.alarm, signal.setitimer
        signal.signal, signal.alarm, signal.setitimer = self._signal, self._alarm, self._setitimer

    def _signal(self, number, handler):
        before = self.set(number, handler)
        self.changed.setdefault(number, before)
        return before

    def _alarm(self, seconds):
        self.timers = True
        return self.alarm(seconds)

    def _setitimer(self, *args):
        self.timers = True
        return self.setitimer(*args)

    def keep(self):
        """What is set until now belongs to the script."""
        self.changed.clear()

    def restore(self):
        if self.timers:
            for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
                self.setitimer(timer, 0)
            self.timers = False
        for number, handler in self.changed.items():
            try:
                self.set(number, signal.SIG_DFL if handler is None else handler)
            except (OSError, ValueError, TypeError):
                pass
        self.changed.clear()


class Surroundings:
    """What a run finds as if it were the first."""

    def __init__(self):
        self.environ, self.variables = os.environ, dict(os.environ._data)
        self.out, self.err = sys.stdout, sys.stderr
        self.pipe = os.dup(1)
        self.folder = os.getcwd()
        self.signals = Signals()
        self.pending, self.count_pending = bytearray(4), _pending_of()
        self.keys = {}  # names of variables, as the environment has them; None: it cannot have such a one

    def prepare(self, changes):
        """Before a run. The environment is what it was before the run before."""
        if not changes:
            return
        known, want, keys, put = self.environ._data, self.variables, self.keys, os.putenv
        for name, value in values.decode(changes).items():
            try:
                key = keys[name]
            except KeyError:
                bad = not name or "\0" in name or "=" in name
                key = keys[name] = None if bad else name.encode(_ENCODING, "surrogateescape")
            if key is None:
                continue
            if value is None:
                want.pop(key, None)
                if known.pop(key, None) is not None:
                    os.unsetenv(key)
            elif "\0" not in value:
                want[key] = value = value.encode(_ENCODING, "surrogateescape")
                if known.get(key) != value:
                    put(key, value)
                    known[key] = value

    def restore(self):
        """After a run."""
        os.environ = self.environ
        if self.environ._data != self.variables:
            known, want = self.environ._data, self.variables
            for name in known.keys() - want.keys():
                os.unsetenv(name)
            for name, value in want.items():
                os.putenv(name, value)
            known.clear()
            known.update(want)
        self.signals.restore()
        os.umask(0o022)
        try:
            os.chdir(self.folder)
        except OSError:
            pass  # the script has closed it even to itself
        sys.stdout, sys.stderr = self.out, self.err

    def settle(self):
        """Lets everything that was printed be read before the answer goes, so that it is known whose it is."""
        out, err = self.out, self.err
        try:
            own = out is sys.stdout and err is sys.stderr
            out.flush()
            err.flush()
        except Exception:
            own = False  # closed by the script
        if not own:
            self._flush()
        os.dup2(self.pipe, 1)
        os.dup2(self.pipe, 2)
        pending = self.pending
        fcntl.ioctl(self.pipe, self.count_pending, pending, True)
        if any(pending):
            self._drained()

    def _flush(self):
        """Flushes the streams that the script has put in the place of its own, and its own, which it may have closed."""
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:
                pass  # closed by the script
        for name, fd in (("out", 1), ("err", 2)):
            stream = getattr(self, name)
            if stream.closed:
                os.dup2(self.pipe, fd)
                stream = open(fd, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
                stream.reconfigure(line_buffering=True)
                setattr(self, name, stream)
            else:
                try:
                    stream.flush()
                except Exception:
                    pass

    def _drained(self):
        pause, end = 0.00002, time.monotonic() + 5
        while any(self.pending) and time.monotonic() < end:
            time.sleep(pause)
            pause = min(2 * pause, 0.005)
            fcntl.ioctl(self.pipe, self.count_pending, self.pending, True)


def _pending_of():
    """The ioctl that counts what waits in a pipe. Its module is not for the zygote, whose other jobs do not need it."""
    import termios

    return termios.FIONREAD


def _send(number, kind, payload):
    data = _answered.pack(73, 8, number, ord(kind), len(payload)) + payload
    sent = os.write(FD, data)
    while sent < len(data):
        sent += os.write(FD, memoryview(data)[sent:])


def _piled_up():
    """Whether so many descriptors, threads or processes have been left behind that the next runs may lack them."""
    import resource

    try:
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        files, threads = len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))
        processes = sum(1 for name in os.listdir("/proc") if name.isdigit())
    except OSError:
        return True  # not even these can be counted
    return files > most // 2 or threads + processes > 64


def _answer(function, plan, args):
    """Runs the script once; returns the kind and payload of the answer."""
    positional, named = values.bind(function, values.decode(args), plan)
    payload = values.encode(job._result(function(*positional, **named)))
    if len(payload) > job.MAX_PAYLOAD:
        raise job.Failure("ResultError", "the result is %d bytes of JSON; the most is 64 MiB" % len(payload))
    return "R", payload


def _failed(error, filename):
    try:
        return "E", values.encode(job._failure(error, filename))
    except Exception:
        return "E", json.dumps({"name": type(error).__name__, "message": "(no message)", "stack": ""}).encode()


def _function(request, filename):
    source = request.get(83, b"")
    if b"wmill" in source:
        job.package().install()
    namespace = job._load(source.decode(), filename)
    entry = request.get(78, b"main").decode().split("\n", 1)[0] or "main"
    function = namespace.get(entry)
    if not callable(function):
        raise job.Failure("NameError", "the script defines no function %s" % entry)
    return function


def serve(request, rest):
    """Runs calls until there are no more. Does not return."""
    status = 1
    me = os.getpid()
    try:
        filename = job._display(request.get(80, b"").decode())
        runs, around, function, count, leave = Runs(rest), Surroundings(), None, 0, False
        plan = None
        while not leave:
            run = runs.next()
            if run is None:
                break
            number, changes, args = run
            try:
                around.prepare(changes)
                if function is None:
                    function = _function(request, filename)
                    plan = values.plan(function)
                    around.signals.keep()
                    if getattr(function, "_is_workflow", False):
                        with job.own():
                            import millrace_abreast
                        millrace_abreast.serve(function, filename, around, (number, args, runs.begun_before), runs.rest())
                kind, payload = _answer(function, plan, args)
            except BaseException as error:
                kind, payload = _failed(error, filename)
                # A script that could not be loaded is loaded anew, by a process that has none of its halves.
                leave = function is None or isinstance(error, MemoryError)
            if os.getpid() != me:
                os._exit(1)  # a copy that the script has made of this process: it has no business here
            around.settle()
            around.restore()
            _send(number, kind, payload)
            kind = payload = args = run = None
            count += 1
            if count % CHECK_EVERY == 0 and not leave:
                leave = _piled_up()
        if leave:
            os.write(FD, _header.pack(71, 0))
        job._finish()
        job._flush()
        status = 0
    except BaseException as error:
        print("millrace: the process of the script cannot go on: %r" % (error,), file=sys.stderr)
    finally:
        os._exit(status)
