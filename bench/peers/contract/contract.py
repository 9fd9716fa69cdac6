"""The Python side of what the driver and a peer's adapter say to each other; contract.go says what each request means.

A peer is an object with methods start, deploy, one, many, backlog, load and stop; each may be a coroutine. Methods that are not run in
threads, as many at a time as the driver asks for.
"""

import asyncio
import concurrent.futures
import functools
import hashlib
import inspect
import json
import os
import socket
import subprocess
import sys
import time
import traceback

LINE = 64 << 20  # bytes of the longest request


class Unsupported(Exception):
    pass


def now():
    """The wall clock in microseconds."""
    return time.time_ns() / 1000


def fibo(n):
    return n if n < 2 else fibo(n - 1) + fibo(n - 2)


def tell(i, port):
    """Says to the driver that job i ran."""
    with socket.create_connection(("127.0.0.1", port)) as s:
        s.sendall(b"%d\n" % i)
        s.recv(1)


def env(name, without=None):
    return os.environ.get(name, without)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def child(args, log, **more):
    """A process of the peer; it lives in the adapter's process group, so that the driver ends it whatever happens."""
    out = open(os.path.join(os.environ["DATA"], log), "ab")
    return subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=out, stderr=out, **more)


def end(processes, patience=15):
    for p in processes:
        if p.poll() is None:
            p.terminate()
    for p in processes:
        try:
            p.wait(patience)
        except subprocess.TimeoutExpired:
            p.kill()
            p.wait()


@functools.cache
def text(n):
    """The argument of payload, as in contract.go, but for its first 16 characters."""
    return "".join(hashlib.sha256(str(i).encode()).hexdigest() for i in range((n + 63) // 64))[:n]


async def _serve(peer):
    loop = asyncio.get_running_loop()
    loop.set_default_executor(concurrent.futures.ThreadPoolExecutor(300))
    reader = asyncio.StreamReader(limit=LINE)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(0, "rb"))
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what the peer prints must not look like an answer

    async def handle(line):
        r = json.loads(line)
        answer = {"id": r["id"]}
        try:
            method = getattr(peer, r["op"])
            args = () if r["op"] in ("start", "deploy", "stop") else (r,)
            payload = r["op"] == "one" and r["work"] == "payload"
            if payload:
                r["arg"] = "%016x" % r["id"] + text(r["n"])[16:]
            if inspect.iscoroutinefunction(method):
                value = await method(*args)
            else:
                value = await loop.run_in_executor(None, method, *args)
            if isinstance(value, tuple):
                answer["value"], answer["spans"] = value
            else:
                answer["value"] = value
            if payload:
                if answer["value"] != r["arg"]:
                    raise ValueError(f"payload: the result is not the {r['n']} characters of the argument")
                answer["value"] = r["n"]
        except Exception as e:
            traceback.print_exc()
            answer["error"] = f"{type(e).__name__}: {e}"[:2000]
        out.write(json.dumps(answer, separators=(",", ":")).encode() + b"\n")

    tasks = set()
    while line := await reader.readline():
        t = asyncio.create_task(handle(line))
        tasks.add(t)
        t.add_done_callback(tasks.discard)
    if tasks:
        await asyncio.wait(tasks, timeout=5)


def serve(peer):
    asyncio.run(_serve(peer))
    sys.stderr.flush()
    os._exit(0)  # threads of client libraries may never end
