"""One job: reads the request from descriptor 3, runs the script, answers with one frame, ends the process.

Frames: a type byte, the payload's length (uint32, little-endian), the payload. In: S source, P path, N entry, V environment
(name=value and a zero byte for each variable), B what was compiled of the source, or nothing if it shall be told, A arguments (the
last). Out: B before all else, T chunk of a stream, then R result or E failure, once.
"""
import _random
import atexit
import contextlib
import gc
import inspect
import io
import json
import linecache
import logging
import marshal
import os
import struct
import sys
import threading
import traceback
import types
from importlib.util import MAGIC_NUMBER

import millrace_environ as variables
import millrace_late as late
import millrace_values as values

FD = 3
own = contextlib.nullcontext  # a context in which the modules beside this file can be imported; the zygote says which
_seed = _random.Random.seed  # without what random itself does around it, which is nothing for a seed of the system's
MAX_PAYLOAD = 64 << 20
_header = struct.Struct("<BI")


class Failure(Exception):
    """An error of ours rather than of the script: it has a name of its own and no stack."""

    def __init__(self, name, message):
        super().__init__(message)
        self.name = name


def _read_request():
    """Returns {type byte: payload}; ends the process when the server has gone before asking."""
    data, request, at = os.read(FD, 1 << 16), {}, 0  # nearly always all of it
    while True:
        if not data:
            os._exit(0)
        while len(data) - at >= 5:
            kind, size = _header.unpack_from(data, at)
            end = at + 5 + size
            if len(data) < end:
                break
            request[kind] = data[at + 5 : end]
            at = end
            if kind == 65 or kind == 68:  # 'A' or 'D'
                request["rest"] = data[at:]
                return request
        data = _read_more(data[at:])
        at = 0


def _read_more(data):
    """Returns data and what follows it, at least to the end of its first frame; nothing when the server has gone."""
    pieces, have, want = [data], len(data), 0
    while have < want or not want:
        if have >= 5 and not want:
            pieces = [b"".join(pieces)]
            want = 5 + _header.unpack_from(pieces[0])[1]
            continue
        piece = os.read(FD, 1 << 20)
        if not piece:
            return b""
        pieces.append(piece)
        have += len(piece)
    return b"".join(pieces)


def _send(kind, payload):
    if len(payload) > MAX_PAYLOAD:
        raise Failure("ResultError", "the result is %d bytes of JSON; the most is 64 MiB" % len(payload))
    data = _header.pack(ord(kind), len(payload)) + payload
    sent = os.write(FD, data)
    while sent < len(data):
        sent += os.write(FD, memoryview(data)[sent:])


def forget():
    """Makes the zygote forget what would be the same in all its jobs and must not be."""
    modules = sys.modules
    tempfile = modules.get("tempfile")
    if tempfile is not None:
        tempfile._name_sequence = tempfile.tempdir = None
    random = modules.get("random")
    if random is not None:
        random._inst.gauss_next = None
    uuid = modules.get("uuid")
    if uuid is not None:
        uuid._node = uuid._last_timestamp = None


def renew():
    """Makes different what a fork leaves equal and nobody notices, as the process id is the same in every job.

    It does the work of the at-fork hooks, which may not have run. OpenSSL compares process ids when it is asked for numbers: the
    zygote's is not that of its jobs, so it notices; adding entropy here would cost each job a millisecond.
    """
    modules = sys.modules
    random = modules.get("random")
    if random is not None:
        _seed(random._inst)
    if "millrace_preload" in modules:
        modules["millrace_preload"].set_threads()
    if "numpy.random" in modules:
        modules["numpy.random"].seed()


def loops():
    """What runs coroutines. asyncio is two megabytes, so it is in no zygote but in those that import it ahead, for scripts that run often
    and say so or get here: millrace_learn takes this import for one of theirs."""
    if "asyncio" not in sys.modules:
        late.hold()
        try:
            import asyncio  # noqa: F401
        finally:
            late.release()
    with own():
        import millrace_loop
    return millrace_loop


def workflows():
    loops()
    with own():
        import millrace_workflow
    return millrace_workflow


def package():
    workflows()
    with own():
        import millrace_package
    return millrace_package


MAX_COMPILED = 1 << 20


def _compiled(data):
    """The code object that another run told, or None if it is of another interpreter."""
    if data[:4] != MAGIC_NUMBER:
        return None
    try:
        return marshal.loads(memoryview(data)[4:])
    except (ValueError, EOFError, TypeError):
        return None


def _tell_compiled(code):
    """Tells what was compiled; nothing of what is large. It must come before any of the script's own code, and come at all, for the
    server believes the first frame of a run and no other."""
    data = MAGIC_NUMBER + marshal.dumps(code)
    _send("B", data if len(data) <= MAX_COMPILED else b"")


def _load(source, filename, compiled=None):
    """Compiles and executes the script as the module "main"; returns its namespace. compiled is what it was compiled to before, or
    empty if that shall be told."""
    linecache.cache[filename] = (len(source), None, source.splitlines(True), filename)
    code = _compiled(compiled) if compiled else None
    if code is None:
        code = compile(source, filename, "exec", dont_inherit=True)
        if compiled == b"":
            _tell_compiled(code)
    module = types.ModuleType("main")
    module.__file__ = filename
    sys.modules["main"] = module
    exec(code, module.__dict__)
    return module.__dict__


def _stream(gen):
    """Sends what gen yields as it comes. The result is what it returns, or else all the text."""
    parts = []
    while True:
        try:
            item = next(gen)
        except StopIteration as stop:
            return "".join(parts) if stop.value is None else stop.value
        parts.append(_chunk(item))


async def _stream_async(gen):
    parts = []
    async for item in gen:
        parts.append(_chunk(item))
    return "".join(parts)


def _chunk(item):
    text = item if isinstance(item, str) else values.encode(item).decode()
    _send("T", text.encode("utf-8", "replace"))
    return text


async def _await(value):
    value = await value
    return await _stream_async(value) if inspect.isasyncgen(value) else value


_data = {dict, list, str, int, float, bool}


def is_data(value):
    """Whether value is of a type that stands for itself, so that nothing more needs to be asked about it, which would take longer."""
    return value is None or type(value) in _data


def _call(function, args):
    positional, named = values.bind(function, args)
    return _result(function(*positional, **named))


def _result(result):
    if is_data(result):
        return result
    kind = type(result)
    if kind is types.GeneratorType:
        return _stream(result)
    if kind is types.AsyncGeneratorType:
        return loops().run(_stream_async(result))
    if inspect.isawaitable(result):
        return loops().run(_await(result))
    return result


def _enter(namespace, entry, args, filename, begun_before):
    """Calls what the job is: main, a workflow, or a task of one ("task:name")."""
    if entry.startswith("task:"):
        return _result(workflows().call_task(workflows().task_of(entry[5:]), args))
    function = namespace.get(entry)
    if not callable(function):
        raise Failure("NameError", "the script defines no function %s" % entry)
    if getattr(function, "_is_workflow", False):
        return workflows().run(function, *values.bind(function, args), filename, begun_before)
    return _call(function, args)


def _user_frames(shown, filename, seen):
    """Drops the frames of this wrapper and of libraries from a TracebackException and from what caused it."""
    if shown is None or id(shown) in seen:
        return
    seen.add(id(shown))
    kept = [f for f in shown.stack if f.filename == filename]
    shown.stack = traceback.StackSummary.from_list(kept)
    for other in (shown.__cause__, shown.__context__, *(getattr(shown, "exceptions", None) or ())):
        _user_frames(other, filename, seen)


def _stack(error, filename):
    try:
        shown = traceback.TracebackException(type(error), error, error.__traceback__, compact=True)
        _user_frames(shown, filename, set())
        return "".join(shown.format()).strip()
    except Exception:  # a broken __str__, or memory is short
        return ""


def _message(error):
    try:
        return str(error)
    except Exception as e:
        return "(the error's text cannot be made: %s)" % type(e).__name__


def _failure(error, filename):
    """The JSON object that tells of error."""
    if isinstance(error, Failure):
        return {"name": error.name, "message": str(error), "stack": ""}
    if isinstance(error, (values.ArgumentError, values.ResultError)):
        return {"name": type(error).__name__, "message": str(error), "stack": ""}
    name, message = type(error).__name__, _message(error)
    if isinstance(error, SystemExit):
        code = 0 if error.code is None else error.code
        message = "the script ended itself by sys.exit(%s) before it returned a result" % (code,)
    elif isinstance(error, MemoryError) and not message:
        message = "out of memory"
    out = {"name": name, "message": message, "stack": _stack(error, filename)}
    try:
        extra = values.encode(vars(error)) if getattr(error, "__dict__", None) else b""
        if 0 < len(extra) <= 1 << 16:
            out["extra"] = json.loads(extra)
    except Exception:
        pass  # an attribute that is no data: the error itself is what matters
    return out


def prepare():
    """Does what is the same in all jobs of a zygote, once."""
    variables.prepare()
    threading.main_thread()._native_id = 1  # a job is the first process of its namespace
    _exit_functions()


def _exit_functions():
    """Has logging's part of the end of a process done by _finish, which knows when there is nothing to do."""
    found = []

    class Look:
        def __eq__(self, function):
            found.append(function)
            return False

    atexit.unregister(Look())  # compares each with it, and so removes none
    if found == [logging.shutdown]:
        atexit._clear()


_active, _limbo = threading._active, threading._limbo


def _finish():
    """What the interpreter does at its end, of which os._exit would cheat the script."""
    if len(_active) > 1 or _limbo:
        threading._shutdown()
    if atexit._ncallbacks():
        atexit._run_exitfuncs()
    if len(logging._handlerList) > 1:  # one is logging's own, for standard error
        logging.shutdown()


def _flush():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass  # closed by the script


def _display(path):
    if not path:
        return "main.py"
    return path if path.endswith(".py") else path + ".py"


def _run(request, finish=_finish):
    """Runs the script; returns the kind and payload of the answer."""
    filename = _display(request.get(80, b"").decode())
    try:
        environment = request.get(86)
        if environment:
            variables.take(environment)
        args = values.decode(request[65])
        source = request.get(83, b"")
        if b"wmill" in source:
            package().install()
        namespace = _load(source.decode(), filename, request.get(66))
        entry = request.get(78, b"main").decode().split("\n", 1)[0] or "main"
        payload = values.encode(_enter(namespace, entry, args, filename, 72 in request))
        finish()
        if len(payload) > MAX_PAYLOAD:
            raise Failure("ResultError", "the result is %d bytes of JSON; the most is 64 MiB" % len(payload))
        return "R", payload
    except BaseException as error:
        out = _failure(error, filename)
        try:
            return "E", values.encode(out)
        except Exception:
            return "E", json.dumps({"name": type(error).__name__, "message": "(no message)", "stack": ""}).encode()


def run_job():
    """Runs the one job of this process. Does not return."""
    status = 1
    try:
        renew()
        request = _read_request()
        if 68 in request:
            with own():
                import millrace_share
            millrace_share.serve(request, request["rest"])
        watch = None
        if 77 in request:
            import millrace_learn

            watch = millrace_learn.Watch(request.get(86))
        kind, payload = _run(request)
        _flush()
        if watch is not None:
            _send("M", watch.stop())
        _send(kind, payload)
        status = 0 if kind == "R" else 1
    except BaseException as error:  # the server has gone: nobody is left to tell but the log
        print("millrace: the answer could not be sent: %r" % (error,), file=sys.stderr)
    finally:
        os._exit(status)


def practise():
    """Does what most jobs do, in a child of the zygote that is not one of them and ends then."""
    renew()
    block = b"".join(b"WM_VARIABLE_%02d=a value of some length\0" % i for i in range(30))
    source = b"def main(n: int, s: str = ''):\n    return {'n': n + 1, 's': [s]}\n"
    kind, payload = _run({83: source, 80: b"f/some/script", 78: b"main", 86: block, 65: b'{"n": 1}'})
    _flush()
    _header.pack(ord(kind), len(payload)) + payload
    if "millrace_preload" in sys.modules:
        sys.modules["millrace_preload"].practise()


WORKFLOW = b"""from wmill import workflow, step
@workflow
async def main(a):
    return await step("s", lambda: [1])
"""


def rehearse(source):
    """Runs the parts of a job on a script that nobody asked for, so that children find them warm."""
    # The main that is rehearsed returns a lambda, so that the slow encoder and the failure are rehearsed too.
    plain = b"def main(a): return {'x': a, 'y': [1.5, True, None]}"
    compiled = MAGIC_NUMBER + marshal.dumps(compile(plain, "warm.py", "exec"))
    _rehearse({83: source.encode()}, {83: source.encode()}, {83: plain}, {83: b"def main(:"}, {83: plain, 66: compiled})


def rehearse_coroutines():
    """The same of the parts that only coroutines and workflows need, and makes what is the same for all of them."""
    flows, packages = workflows(), package()
    alone, flows.Alone = flows.Alone, flows.Rehearsal
    try:
        _rehearse({83: b"async def main(a): return 1"}, {83: WORKFLOW})
    finally:
        flows.Alone = alone
        packages.uninstall()
    loops().prepare()
    packages.prepare()


def _rehearse(*requests):
    real, sys.stderr = sys.stderr, io.StringIO()
    try:
        for request in requests:
            ours = {80: b"warm", 78: b"main", 65: b'{"a": {"x": [1, 2.5, "s", null]}}'}
            _run({**ours, **request}, finish=gc.collect)  # not what ends a process: this one lives on
    finally:
        sys.stderr = real
        sys.modules.pop("main", None)
        linecache.clearcache()
