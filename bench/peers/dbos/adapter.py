"""DBOS, client and workflows in one process. Workflows are started directly, or (THROUGH_QUEUE) through a queue. Branches and bulk calls go
through a queue always. QUEUE_POLL says how often queues and results are asked for, in seconds."""

import importlib.metadata
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "contract"))
import contract
from contract import now
from dbos import DBOS

import workflow


class Peer:
    def start(self):
        self.queued = os.environ.get("THROUGH_QUEUE") == "1"
        url = os.environ["DATABASE_URL"].replace("/postgres?", "/dbos?")
        DBOS(config={"name": "bench", "system_database_url": url, "sys_db_pool_size": 40, "log_level": "WARNING",
                     # A process that was killed and starts again is the same to DBOS: what it had begun is its own.
                     "application_version": "1", "executor_id": "bench"})
        DBOS.launch()
        DBOS.register_queue("branches", polling_interval_sec=workflow.QUEUE_POLL)
        DBOS.register_queue("jobs", polling_interval_sec=workflow.QUEUE_POLL)
        return {"version": importlib.metadata.version("dbos"), "works": ["empty", "fibo", "steps", "fan", "payload", "many", "load"]}

    def deploy(self):
        return None  # the process has imported the workflows

    def run(self, function, *args):
        if self.queued:
            return DBOS.enqueue_workflow("jobs", function, *args).get_result(polling_interval_sec=0.001)
        return function(*args)

    def one(self, r):
        work = r["work"]
        if work in ("empty", "steps", "payload"):
            return self.run(getattr(workflow, work), r["arg"])
        if work == "fan":
            return self.run(workflow.fan, r["n"])
        results = self.run(workflow.fibo, r["n"], r["k"])
        spans, created = [], results[0][1]
        for _, began, ended in results:
            spans.append([created, began, ended])
            created = ended
        return [value for value, _, _ in results], spans

    def many(self, r):
        begin = now()
        handles = [DBOS.enqueue_workflow("jobs", workflow.empty, i) for i in range(r["n"])]
        enqueued = now()
        return sum(h.get_result(polling_interval_sec=workflow.QUEUE_POLL) for h in handles), [[begin, enqueued, now()]]

    def load(self, r):
        for i in range(r["n"]):
            DBOS.enqueue_workflow("jobs", workflow.mark, i, r["k"])

    def stop(self):
        DBOS.destroy()


contract.serve(Peer())
