"""The workflows and activities, as a user of Temporal writes them, and the worker that runs them."""

import asyncio
import concurrent.futures
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.worker import Worker

with workflow.unsafe.imports_passed_through():
    import contract
    from contract import env
    from contract import fibo as compute
    from contract import now

QUEUE = "bench"
LOCAL = env("LOCAL") == "1"
BRANCHES = 500  # of one workflow: the server allows 2,000 activities that wait, so a larger fan-out has child workflows


@activity.defn
def add_one(n: int) -> int:
    return n + 1


@activity.defn
def fibo_step(k: int) -> list:
    began = now()
    value = compute(k)
    return [value, began, now()]


@activity.defn
def tell(i: int, port: int) -> None:
    contract.tell(i, port)


def step(function, *args):
    run = workflow.execute_local_activity if LOCAL else workflow.execute_activity
    return run(function, args=args, start_to_close_timeout=timedelta(minutes=1))


@workflow.defn(name="empty")
class Empty:
    @workflow.run
    async def run(self, n: int) -> int:
        return n + 1


@workflow.defn(name="payload")
class Payload:
    @workflow.run
    async def run(self, text: str) -> str:
        return text


@workflow.defn(name="steps")
class Steps:
    @workflow.run
    async def run(self, n: int) -> int:
        for _ in range(3):
            n = await step(add_one, n)
        return n


@workflow.defn(name="fibo")
class Fibo:
    @workflow.run
    async def run(self, n: int, k: int) -> list:
        return [await step(fibo_step, k) for _ in range(n)]


@workflow.defn(name="fan")
class Fan:
    @workflow.run
    async def run(self, first: int, n: int) -> int:
        if n <= BRANCHES:
            return sum(await asyncio.gather(*[step(add_one, i) for i in range(first, first + n)]))
        parts = [workflow.execute_child_workflow(Fan.run, args=[i, min(BRANCHES, first + n - i)]) for i in range(first, first + n, BRANCHES)]
        return sum(await asyncio.gather(*parts))


@workflow.defn(name="mark")
class Mark:
    @workflow.run
    async def run(self, i: int, port: int) -> None:
        await step(tell, i, port)


def worker(client):
    threads = 100  # as many activities at a time as the SDK's own limit
    return Worker(client, task_queue=QUEUE, workflows=[Empty, Payload, Steps, Fibo, Fan, Mark], activities=[add_one, fibo_step, tell],
                  activity_executor=concurrent.futures.ThreadPoolExecutor(threads), max_concurrent_activities=threads)


async def main():
    from temporalio.client import Client

    await worker(await Client.connect(env("TEMPORAL"))).run()


if __name__ == "__main__":
    import workflow as module  # by its name, as the SDK's sandbox imports it

    asyncio.run(module.main())
