"""The workflows, as a user of DBOS writes them: Python functions whose steps are stored as they end."""

import os

from dbos import DBOS

from contract import fibo as compute
from contract import now
from contract import tell

QUEUE_POLL = float(os.environ.get("QUEUE_POLL", "1"))  # seconds; its own default

@DBOS.step()
def add_one(n):
    return n + 1


@DBOS.step()
def fibo_step(k):
    began = now()
    value = compute(k)
    return value, began, now()


@DBOS.workflow()
def empty(n):
    return n + 1


@DBOS.workflow()
def payload(text):
    return text


@DBOS.step()
def tell_driver(i, port):
    tell(i, port)


@DBOS.workflow()
def mark(i, port):
    tell_driver(i, port)


@DBOS.workflow()
def steps(n):
    return add_one(add_one(add_one(n)))


@DBOS.workflow()
def fibo(n, k):
    return [fibo_step(k) for _ in range(n)]


@DBOS.workflow()
def fan(n):
    """A queue runs the branches as workflows of their own, which is how its manual fans out."""
    handles = [DBOS.enqueue_workflow("branches", empty, i) for i in range(n)]
    return sum(h.get_result(polling_interval_sec=QUEUE_POLL) for h in handles)
