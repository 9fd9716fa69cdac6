"""Prefect's server on PostgreSQL. With WORKER a process worker runs deployments, each flow run in a process of its own, and the run's state
is asked for every 20 ms; without it flows are called in this process, which is warm, and everything else is the same."""

import asyncio
import importlib.metadata
import os
import subprocess
import sys
import time
import urllib.request

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(here, "..", "contract"))
import contract
from contract import now

POLL = 0.02  # seconds
AT_A_TIME = 16  # runs of many
FLOWS = ("empty", "payload", "steps", "fibo", "fan", "mark")


class Peer:
    def start(self):
        data, port = os.environ["DATA"], contract.free_port()
        os.environ.update(
            PREFECT_HOME=os.path.join(data, "prefect"),
            PREFECT_API_URL=f"http://127.0.0.1:{port}/api",
            PREFECT_SERVER_DATABASE_CONNECTION_URL=f"postgresql+asyncpg://postgres@127.0.0.1:{os.environ['PG_PORT']}/postgres",
            PREFECT_RESULTS_PERSIST_BY_DEFAULT="true",
            PREFECT_SERVER_ANALYTICS_ENABLED="false",
            PREFECT_LOGGING_LEVEL="WARNING",
        )
        self.command = [os.path.join(os.path.dirname(sys.executable), "prefect")]
        self.children = [contract.child([*self.command, "server", "start", "--host", "127.0.0.1", "--port", str(port)], "server.log")]
        limit = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(os.environ["PREFECT_API_URL"] + "/health", timeout=2).read()
                break
            except OSError:
                if time.monotonic() > limit or self.children[0].poll() is not None:
                    raise
                time.sleep(0.2)
        global workflow, run_deployment
        import workflow
        from prefect.deployments import run_deployment

        self.worker = os.environ.get("WORKER") == "1"
        works = ["empty", "payload", "steps", "fibo", "fan", "many"]
        if self.worker:
            subprocess.run([*self.command, "work-pool", "create", "bench", "--type", "process", "--overwrite"], check=True, stdout=sys.stderr)
            self.children.append(contract.child([*self.command, "worker", "start", "--pool", "bench", "--limit", os.environ["SLOTS"]], "worker.log"))
            works.append("load")
        return {"version": importlib.metadata.version("prefect"), "works": works}

    def deploy(self):
        if not self.worker:
            return
        for name in FLOWS:
            flow = workflow.empty.from_source(source=here, entrypoint=f"workflow.py:{name}")
            flow.deploy(name="bench", work_pool_name="bench", print_next_steps=False)

    async def begin(self, name, **parameters):
        return await run_deployment(f"{name}/bench", parameters=parameters, timeout=0)

    async def run(self, name, **parameters):
        if not self.worker:
            return await getattr(workflow, name)(**parameters)
        run = await run_deployment(f"{name}/bench", parameters=parameters, poll_interval=POLL)
        return await run.state.result()

    async def one(self, r):
        work = r["work"]
        if work in ("empty", "steps"):
            return await self.run(work, n=r["arg"])
        if work == "payload":
            return await self.run(work, text=r["arg"])
        if work == "fan":
            return await self.run(work, n=r["n"])
        results = await self.run("fibo", n=r["n"], k=r["k"])
        spans, created = [], results[0][1]
        for _, began, ended in results:
            spans.append([created, began, ended])
            created = ended
        return [value for value, _, _ in results], spans

    async def many(self, r):
        """There is no bulk call."""
        begin = now()
        gate = asyncio.Semaphore(AT_A_TIME)

        async def through(i):
            async with gate:
                return await self.run("empty", n=i)

        numbers = await asyncio.gather(*[through(i) for i in range(r["n"])])
        return sum(numbers), [[begin, now(), now()]]

    async def load(self, r):
        await asyncio.gather(*[self.begin("mark", i=i, port=r["k"]) for i in range(r["n"])])

    def stop(self):
        contract.end(self.children)


contract.serve(Peer())
