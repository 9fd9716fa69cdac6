"""Temporal with a worker process of its own. Results come by the client's long poll, which is how execute_workflow waits. With LOCAL the
worker is in the client's process, which eager start needs."""

import asyncio
import importlib.metadata
import os
import sys
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "contract"))
import contract
import workflow
from contract import now
from google.protobuf.duration_pb2 import Duration
from temporalio.api.workflowservice.v1 import GetSystemInfoRequest, RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

AT_A_TIME = 200  # calls of many and load


async def patiently(what, seconds=90):
    """Asks again while the server is starting."""
    limit = asyncio.get_running_loop().time() + seconds
    while True:
        try:
            return await what()
        except (RPCError, RuntimeError):
            if asyncio.get_running_loop().time() > limit:
                raise
            await asyncio.sleep(0.1)


class Peer:
    async def start(self):
        data, here = os.environ["DATA"], os.path.dirname(os.path.abspath(__file__))
        server = os.path.join(os.environ["INSTALL"], "..", "temporal-server")
        self.children = [contract.child(["bash", os.path.join(server, "run.sh")], "server.log")]
        ports = os.path.join(data, "ports")
        while not os.path.exists(ports):
            if self.children[0].poll() is not None:
                raise RuntimeError("the server did not start: " + open(os.path.join(data, "server.log")).read()[-1500:])
            await asyncio.sleep(0.1)
        address = "127.0.0.1:" + open(ports).readline().strip()
        self.client = await patiently(lambda: Client.connect(address))
        await patiently(self.register)
        self.eager = workflow.LOCAL
        if self.eager:
            # The namespace is known to all parts of the server only after a while, and the worker asks for it.
            await patiently(lambda: self.client.count_workflows())
            self.worker = asyncio.create_task(workflow.worker(self.client).run())
        else:
            path = os.pathsep.join([here, os.path.join(here, "..", "contract")])
            self.children.append(contract.child([sys.executable, os.path.join(here, "workflow.py")], "worker.log",
                                                env={**os.environ, "PYTHONPATH": path, "TEMPORAL": address}))
        await asyncio.wait_for(patiently(lambda: self.execute("empty", 1)), 90)
        info = await self.client.workflow_service.get_system_info(GetSystemInfoRequest())
        return {"version": f"{info.server_version}, SDK {importlib.metadata.version('temporalio')}",
                "works": ["empty", "payload", "steps", "fibo", "fan", "many", "load"]}

    async def register(self):
        try:
            await self.client.workflow_service.register_namespace(
                RegisterNamespaceRequest(namespace="default", workflow_execution_retention_period=Duration(seconds=86400)))
        except RPCError as e:
            if e.status != RPCStatusCode.ALREADY_EXISTS:
                raise

    async def deploy(self):
        return None  # the worker has the workflows

    async def begin(self, name, *args):
        return await self.client.start_workflow(name, args=args, id=f"{name}-{uuid.uuid4()}", task_queue=workflow.QUEUE, request_eager_start=self.eager)

    async def execute(self, name, *args):
        return await (await self.begin(name, *args)).result()

    async def one(self, r):
        work = r["work"]
        if work == "fan":
            return await self.execute("fan", 0, r["n"])
        if work != "fibo":
            return await self.execute(work, r["arg"])
        results = await self.execute("fibo", r["n"], r["k"])
        spans, created = [], results[0][1]
        for _, began, ended in results:
            spans.append([created, began, ended])
            created = ended
        return [value for value, _, _ in results], spans

    async def each(self, n, what):
        """what(0) to what(n-1), so many at a time."""
        gate = asyncio.Semaphore(AT_A_TIME)

        async def through(i):
            async with gate:
                return await what(i)

        return await asyncio.gather(*[through(i) for i in range(n)])

    async def many(self, r):
        """There is no bulk call."""
        begin = now()
        handles = await self.each(r["n"], lambda i: self.begin("empty", i))
        enqueued = now()
        numbers = await self.each(r["n"], lambda i: handles[i].result())
        return sum(numbers), [[begin, enqueued, now()]]

    async def load(self, r):
        await self.each(r["n"], lambda i: self.begin("mark", i, r["k"]))

    def stop(self):
        contract.end(self.children)


contract.serve(Peer())
