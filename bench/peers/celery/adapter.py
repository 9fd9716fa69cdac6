"""Celery with Redis as broker and result backend. Results come by Redis' publish and subscribe, which is how get() waits."""

import os
import sys

import celery as library
from celery import chain, chord, group

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "contract"))
import contract
from contract import now


class Peer:
    def start(self):
        global workflow
        here = os.path.dirname(os.path.abspath(__file__))
        path = os.pathsep.join([here, os.path.join(here, "..", "contract")])
        self.worker = contract.child(
            [sys.executable, "-m", "celery", "-A", "workflow", "worker", "--concurrency", os.environ["SLOTS"], "--loglevel", "WARNING", "--without-gossip", "--without-mingle"],
            "worker.log", env={**os.environ, "PYTHONPATH": path})
        import workflow
        workflow.empty.delay(1).get(timeout=60)
        return {"version": library.__version__, "works": ["empty", "fibo", "steps", "fan", "payload", "many", "load"]}

    def deploy(self):
        return None  # the worker has imported the tasks

    def one(self, r):
        work, t = r["work"], workflow
        if work == "empty":
            return t.empty.delay(r["arg"]).get()
        if work == "payload":
            return t.payload.delay(r["arg"]).get()
        if work == "steps":
            return chain(t.empty.s(r["arg"]), t.empty.s(), t.empty.s())().get()
        if work == "fan":
            return chord(group(t.empty.s(i) for i in range(r["n"])), t.total.s())().get()
        begin = now()
        steps = chain(t.fibo.s({"values": [], "times": []}, r["k"]), *[t.fibo.s(r["k"]) for _ in range(r["n"] - 1)])
        result = steps().get()
        spans, created = [], begin  # a worker enqueues the next step right after a step's end
        for began, ended in result["times"]:
            spans.append([created, began, ended])
            created = ended
        return result["values"], spans

    def many(self, r):
        begin = now()
        result = group(workflow.empty.s(i) for i in range(r["n"])).apply_async()
        enqueued = now()
        numbers = result.join_native() if r["n"] else []
        return sum(numbers), [[begin, enqueued, now()]]

    def load(self, r):
        group(workflow.mark.s(i, r["k"]) for i in range(r["n"])).apply_async()

    def stop(self):
        contract.end([self.worker])


contract.serve(Peer())
