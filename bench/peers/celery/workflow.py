"""The tasks, as a user of Celery writes them."""

import os

from celery import Celery

from contract import fibo as compute
from contract import now
from contract import tell

app = Celery("bench", broker=os.environ["REDIS_URL"] + "/0", backend=os.environ["REDIS_URL"] + "/1")
app.conf.update(
    task_acks_late=os.environ.get("ACKS_LATE") == "1",
    worker_prefetch_multiplier=int(os.environ.get("PREFETCH", "4")),  # 4 is Celery's own
    broker_connection_retry_on_startup=True,
    redis_max_connections=400,
)


@app.task
def empty(n):
    return n + 1


@app.task
def fibo(state, k):
    """One step: the list so far, with one more number; and when the steps began and ended."""
    began = now()
    values = state["values"] + [compute(k)]
    return {"values": values, "times": state["times"] + [[began, now()]]}


@app.task
def total(numbers):
    return sum(numbers)


@app.task
def mark(i, port):
    tell(i, port)


@app.task
def payload(text):
    return text
