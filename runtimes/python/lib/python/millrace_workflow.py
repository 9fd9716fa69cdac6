"""Workflows as code: what "from wmill import workflow, task, step" means in a job.

A workflow asks for steps by name, over descriptor 3: each is a frame W with a JSON object, and its answer a frame K. What has been
answered once is stored; when the workflow is started anew, after a long wait or a crash, it gets those answers again and goes on where
it was. A step is known by its name and by how often the name was asked for before it: "load", "load_2".

  to the server    {"op": "open"} if it was begun before, then step, task, sleep and approval; "running": how many functions of steps are at work
  from the server  {"key", "kind", "done", "ok", "value", "job"}; the answers of earlier starts come first, {"opened": true} ends them
"""
import asyncio
import contextvars
import functools
import inspect
import json
import os
import time

import millrace_job as job
import millrace_loop as loops
import millrace_values as values

NAMES = (
    "workflow", "task", "task_script", "task_flow", "step", "sleep", "wait_for_approval", "get_approval_urls", "get_resume_urls",
    "parallel", "TaskError",
)  # fmt: skip
_GRACE = 1.0  # seconds that a workflow may take until it has asked for all it asked for before
_run = contextvars.ContextVar("run", default=None)  # the workflow that is at work
_tasks = {}  # by name, as the script defines them


class TaskError(Exception):
    """A task or step failed. result is {"error": {"name", "message", "stack"}}."""

    def __init__(self, message, *, step_key="", child_job_id=None, result=None):
        super().__init__(message)
        self.step_key = step_key
        self.child_job_id = child_job_id
        self.result = result


class Run:
    """The conversation with the server about one workflow. How it is led is for others to say: see Alone."""

    def __init__(self, filename):
        self.filename = filename
        self.history = {}  # answers of earlier starts that were not asked for yet
        self.waiting = {}  # key -> future
        self.used, self.counts = set(), {}
        self.running = 0

    def _ask(self, fields, value=None):
        fields["running"] = self.running
        data = values.encode(fields)
        if value is not None:
            data = data[:-1] + b',"value":' + value + b"}"
        self.send("W", data)

    # --- names ---

    def name(self, name):
        n = self.counts.get(name, 0) + 1
        key = name if n == 1 else "%s_%d" % (name, n)
        while key in self.used:
            n += 1
            key = "%s_%d" % (name, n)
        self.counts[name] = n
        self.used.add(key)
        return key

    def name_once(self, name):
        if name in self.used:
            raise ValueError("the workflow has asked for %r before: the key of an approval must be its own" % name)
        return self.name(name)

    async def earlier(self, kind, key):
        """Returns what an earlier start has got for key, or None."""
        old = self.history.pop(key, None)
        if old is not None:
            if old["kind"] != kind:
                await self.end("%s is a %s this time, and was a %s when the workflow ran first" % (key, kind, old["kind"]))
            return old
        if self.history:
            await self._catch_up("it asks for the %s %s" % (kind, key))
        return None

    async def _catch_up(self, what):
        """Waits until everything that was asked for before has been: nothing new may begin while the workflow strays from its way."""
        end, turns = time.monotonic() + _GRACE, 0
        while self.history and time.monotonic() < end and (turns < 8 or len(asyncio.all_tasks()) > 1):
            await asyncio.sleep(0 if turns < 50 else 0.005)
            turns += 1
        if self.history:
            old = next(iter(self.history.values()))
            await self.end("this time %s, and not for the %s %s that it asked for when it ran first" % (what, old["kind"], old["key"]))

    # --- what workflows ask for ---

    async def step(self, key, name, fn):
        old = await self.earlier("step", key)
        if old is not None:
            return _outcome(old)
        self.running += 1
        if self.waiting:
            self._ask({"op": "begin"})
        self.enter()
        try:
            value = fn()
            if not job.is_data(value) and inspect.isawaitable(value):
                value = await value
            ok, payload = True, values.encode(value)
        except Exception as error:
            ok, payload = False, values.encode({"error": job._failure(error, self.filename)})
        finally:
            self.running -= 1
        stored = self.storing(key)
        self._ask({"op": "step", "key": key, "name": name, "ok": ok}, payload)
        await stored
        return _outcome({"key": key, "kind": "step", "ok": ok, "value": values.decode(payload)})

    async def ask(self, kind, key, fields):
        old = await self.earlier(kind, key)
        if old is not None and old["done"]:
            return _outcome(old)
        future = self.waiting[key] = asyncio.get_running_loop().create_future()
        if old is None:
            value = fields.pop("args", None)
            self._ask({"op": kind, "key": key, **fields}, None if value is None else values.encode(value))
        self.listen()
        return _outcome(await future)

    async def whole(self, function, positional, named):
        """Runs the workflow to its end; returns what it returns."""
        _run.set(self)
        result = function(*positional, **named)
        if inspect.isawaitable(result):
            result = await result
        if self.history:
            await self._catch_up("it ended")
        return result


class Alone(Run):
    """A workflow that has the process for itself."""

    def __init__(self, filename):
        super().__init__(filename)
        self.stored = None  # the last answer to a step
        self.buffer = b""
        self.listens = False

    def open(self):
        self._ask({"op": "open"})
        self.opened = False
        while not self.opened:
            self._read()

    def send(self, kind, data):
        job._send(kind, data)

    def enter(self):
        """Before the function of a step."""

    async def storing(self, key):
        while self.stored is None:  # a commit takes less than the event loop's detour
            self._read()
        self.stored = None

    async def end(self, message):
        """Ends the job: code that strays from its way must not go on, whatever it catches."""
        job._flush()
        job._send("E", nondeterminism(message))
        os._exit(1)

    def _read(self):
        """Reads what there is, at least something, and takes the answers in it."""
        piece = os.read(job.FD, 1 << 16)
        if not piece:
            os._exit(1)  # the server has gone
        data, at = self.buffer + piece if self.buffer else piece, 0
        while len(data) - at >= 5:
            end = at + 5 + int.from_bytes(data[at + 1 : at + 5], "little")
            if len(data) < end:
                break
            self._answer(values.decode(data[at + 5 : end]))
            at = end
        self.buffer = data[at:]

    def _answer(self, got):
        key = got.get("key")
        if "opened" in got:
            self.opened = True
        elif key in self.waiting:
            future = self.waiting.pop(key)
            if not future.done():
                future.set_result(got)
            if not self.waiting and self.listens:
                self.listens = False
                asyncio.get_running_loop().remove_reader(job.FD)
        elif got.get("stored"):
            self.stored = got
        else:
            self.history[key] = got

    def listen(self):
        if not self.listens:
            self.listens = True
            asyncio.get_running_loop().add_reader(job.FD, self._read)


class Rehearsal(Alone):
    """A workflow that nobody asked for."""

    def send(self, kind, data):
        self.stored = True


def _outcome(got):
    if got["ok"]:
        return got["value"]
    error = (got["value"] or {}).get("error") or {}
    what = "Task" if got["kind"] == "task" else "Step"
    if got["kind"] == "approval":
        what = "Approval"
    message = "%s '%s' failed: %s: %s" % (what, got["key"], error.get("name", "Error"), error.get("message", ""))
    raise TaskError(message, step_key=got["key"], child_job_id=got.get("job"), result=got["value"])


def current():
    """The workflow that is at work here; None: none is."""
    return _run.get()


def enter(run):
    """Makes run the workflow that is at work here."""
    _run.set(run)


def nondeterminism(message):
    """The failure of a workflow that strays from its way."""
    hint = "; what varies from run to run (time, chance, answers of others) belongs in a step"
    out = {"name": "NondeterminismError", "message": "the workflow is not deterministic: " + message + hint, "stack": ""}
    return json.dumps(out).encode()


def _round_trip(value):
    return values.decode(values.encode(value))


def _in_place(result):
    """The result of what runs in this very job, as a job of its own would give it."""
    if not inspect.isawaitable(result):
        return _round_trip(result)

    async def later():
        return _round_trip(await result)

    return later()


# --- the names of the package ---


def workflow(func):
    """Marks the function that the script begins with. It must ask for the same steps every time it runs with the same arguments."""
    func._is_workflow = True
    return func


async def step(name, fn):
    """Calls fn in this process, once: its result is stored, and given again whenever the workflow is started anew."""
    run = _run.get()
    if run is None:
        result = fn()
        return _round_trip(await result if inspect.isawaitable(result) else result)
    return await run.step(run.name(name), name, fn)


async def sleep(seconds):
    """Waits; a long wait holds neither process nor slot."""
    run = _run.get()
    if run is None:
        await asyncio.sleep(seconds)
        return
    await run.ask("sleep", run.name("sleep"), {"name": "sleep", "seconds": float(seconds)})


async def wait_for_approval(timeout=1800, form=None, self_approval=True, key=None, skin=None, description=None):
    """Waits until somebody answers, by a link of get_approval_urls(key); returns {"value", "approver", "approved"}."""
    run = _run.get()
    if run is None:
        raise RuntimeError("wait_for_approval can only be called inside a @workflow")
    name = "approval" if key is None else key
    options = {"form": form, "self_approval": bool(self_approval), "description": description, "skin": skin}
    fields = {"name": name, "seconds": float(timeout), "options": options}
    return await run.ask("approval", run.name(name) if key is None else run.name_once(name), fields)


def get_approval_urls(step_key="approval", approver=None):
    """The links that answer wait_for_approval(key=step_key): {"approvalPage", "resume", "cancel"}."""
    from urllib.parse import quote

    return _links("wac_approval_urls", quote(step_key, safe=""), approver)


def get_resume_urls(approver=None):
    """The links that answer whatever the workflow waits for when somebody follows them."""
    from random import SystemRandom

    return _links("resume_urls", str(SystemRandom().randrange(1 << 32)), approver)


def _links(kind, which, approver):
    from urllib.parse import urlencode
    from urllib.request import Request, urlopen

    env = os.environ
    base = env.get("BASE_INTERNAL_URL") or env["WM_BASE_URL"]
    url = "%s/api/w/%s/jobs/%s/%s/%s" % (base, env["WM_WORKSPACE"], kind, env["WM_JOB_ID"], which)
    if approver is not None:
        url += "?" + urlencode({"approver": approver})
    with urlopen(Request(url, headers={"Authorization": "Bearer " + env["WM_TOKEN"]})) as answer:
        return json.load(answer)


async def parallel(items, fn, *, concurrency=None):
    """The results of fn(item) for each item, in order; at most concurrency at the same time."""
    items = list(items)
    size = concurrency if concurrency and concurrency > 0 else len(items) or 1
    results = []
    for i in range(0, len(items), size):
        results.extend(await asyncio.gather(*(fn(item) for item in items[i : i + size])))
    return results


def _options(options):
    options = {k: v for k, v in options.items() if v is not None}
    retry = options.get("retry")
    if retry is not None:
        unknown = set(retry) - {"attempts", "delay", "multiplier", "max_delay"}
        attempts = retry.get("attempts")
        if unknown or not isinstance(attempts, int) or isinstance(attempts, bool) or not 0 <= attempts <= 100:
            raise ValueError("retry: want {'attempts': 0 to 100, 'delay': s, 'multiplier': n, 'max_delay': s}, got %r" % (retry,))
    return options


def _named(func, args, kwargs):
    names = [p.name for p in inspect.signature(func).parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return {**{names[i] if i < len(names) else "arg%d" % i: a for i, a in enumerate(args)}, **kwargs}


def task(func=None, *, path=None, **options):
    """Makes a function a task: called in a workflow it runs as a job of its own."""
    checked = _options(_known(options))

    def decorate(func):
        name = func.__name__
        _tasks.setdefault(name, func)

        @functools.wraps(func)
        def wrapper(*args, **kwargs):
            run = _run.get()
            if run is None:
                return _in_place(func(*args, **kwargs))
            fields = {"name": name, "options": checked, "args": _named(func, args, kwargs)}
            if path:
                fields["path"] = path
            return asyncio.ensure_future(run.ask("task", run.name(name), fields))

        wrapper._is_task, wrapper._task_path = True, path
        return wrapper

    return decorate if func is None else decorate(func)


def _known(options):
    known = {"timeout", "tag", "cache_ttl", "priority", "concurrency_limit", "concurrency_key", "concurrency_time_window_s", "retry"}
    for k in options:
        if k not in known:
            raise TypeError("task() got an unexpected option %r" % k)
    return options


def _deployed(kind, path, options):
    checked, name = _options(_known(options)), path.rsplit("/", 1)[-1]

    def wrapper(**kwargs):
        run = _run.get()
        if run is None:
            raise RuntimeError('%s("%s") can only be called inside a workflow' % (kind, path))
        fields = {"name": name, "path": path, "flow": kind == "task_flow", "options": checked, "args": kwargs}
        return asyncio.ensure_future(run.ask("task", run.name(name), fields))

    wrapper.__name__, wrapper._is_task, wrapper._task_path = name, True, path
    return wrapper


def task_script(path, **options):
    """A task that runs a deployed script."""
    return _deployed("task_script", path, options)


def task_flow(path, **options):
    """A task that runs a deployed flow."""
    return _deployed("task_flow", path, options)


# --- how a job runs them ---


def run(function, positional, named, filename, begun_before):
    """Runs a workflow to its end."""
    conversation = Alone(filename)
    if begun_before:
        conversation.open()
    return loops.run(conversation.whole(function, positional, named))


def task_of(name):
    """The function of a task, for the job that runs it."""
    if name not in _tasks:
        raise job.Failure("NameError", "the script defines no task %s at its top level" % name)
    return _tasks[name]


def call_task(function, args):
    if any(p.kind is p.VAR_POSITIONAL for p in inspect.signature(function).parameters.values()):
        names = [p.name for p in inspect.signature(function).parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        positional = [args.pop(n) for n in names if n in args]
        while "arg%d" % len(positional) in args:
            positional.append(args.pop("arg%d" % len(positional)))
        return function(*positional, **args)
    positional, named = values.bind(function, args)
    return function(*positional, **named)
