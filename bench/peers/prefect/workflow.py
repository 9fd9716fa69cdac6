"""The flows and tasks, as a user of Prefect writes them. Results are kept, so that a flow run that is tried again skips what was done. Flows are
asynchronous because at the end of any other Prefect waits up to a second for the thread that sends heartbeats."""

import os
import sys

from prefect import flow, task

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "contract"))
from contract import fibo as compute
from contract import now
from contract import tell


@task
def add_one(n: int) -> int:
    return n + 1


# Which step it is keeps Prefect from taking it for one that is done: within a flow run it answers equal arguments from what it has kept.
@task
def fibo_step(step: int, k: int) -> list:
    began = now()
    value = compute(k)
    return [value, began, now()]


@flow
async def empty(n: int) -> int:
    return n + 1


@flow
async def payload(text: str) -> str:
    return text


@flow
async def steps(n: int) -> int:
    return add_one(add_one(add_one(n)))


@flow
async def fibo(n: int, k: int) -> list:
    return [fibo_step(i, k) for i in range(n)]


@flow
async def fan(n: int) -> int:
    return sum(add_one.map(range(n)).result())


@flow
async def mark(i: int, port: int) -> None:
    tell(i, port)
