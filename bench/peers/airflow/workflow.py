"""The DAGs, as a user of Airflow writes them: TaskFlow functions whose values go through XCom."""

import os
import sys

from airflow.sdk import dag, get_current_context, task

sys.path.insert(0, os.environ["CONTRACT"])


def conf(name):
    return get_current_context()["dag_run"].conf[name]


@task
def first():
    return conf("n") + 1


@task
def add_one(n):
    return n + 1


@task
def echo():
    return conf("text")


@task
def numbers():
    return list(range(conf("n")))


@task
def total(values):
    return sum(values)


@task
def fibo_step(state):
    """One step: the list so far, with one more number; and when the steps began and ended."""
    from contract import fibo, now

    began = now()
    values = state["values"] + [fibo(conf("k"))]
    return {"values": values, "times": state["times"] + [[began, now()]]}


@task
def tell_driver():
    from contract import tell

    tell(conf("i"), conf("port"))


options = {"schedule": None, "catchup": False, "max_active_runs": 1000}


@dag(dag_id="empty", **options)
def empty():
    first()


@dag(dag_id="payload", **options)
def payload():
    echo()


@dag(dag_id="steps", **options)
def steps():
    add_one(add_one(first()))


@dag(dag_id="fan", **options)
def fan():
    total(add_one.expand(n=numbers()))


@dag(dag_id="mark", **options)
def mark():
    tell_driver()


def fibo(length):
    @dag(dag_id=f"fibo_{length}", **options)
    def chain():
        state = {"values": [], "times": []}
        for _ in range(length):
            state = fibo_step(state)

    return chain


for make in (empty, payload, steps, fan, mark, fibo(1), fibo(10), fibo(40)):
    make()
