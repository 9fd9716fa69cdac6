"""Airflow as its manual installs it: API server, scheduler with LocalExecutor, DAG processor. Runs are begun by the REST API. There is no push:
the state of a run is read from the database every 5 ms, which costs its servers less than asking them."""

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import threading
import time
from datetime import timezone

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(here, "..", "contract"))
import contract
import httpx
import psycopg2
from contract import now

POLL = 0.005  # seconds
FIRST_RUNS = 3
LAST = {"empty": "first", "payload": "echo", "steps": "add_one__1", "fan": "total"}  # the task whose value is the run's


class Peer:
    def start(self):
        self.children = []
        data, home = os.environ["DATA"], os.path.join(os.environ["DATA"], "airflow")
        dags = os.path.join(home, "dags")
        os.makedirs(dags, exist_ok=True)
        shutil.copy(os.path.join(here, "workflow.py"), dags)
        port, logs = contract.free_port(), contract.free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.environment = {
            **os.environ,
            "CONTRACT": os.path.join(here, "..", "contract"),
            "AIRFLOW_HOME": home,
            "AIRFLOW__CORE__DAGS_FOLDER": dags,
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": os.environ["SLOTS"],
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": self.url + "/execution/",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://postgres@127.0.0.1:{os.environ['PG_PORT']}/postgres",
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
            "AIRFLOW__API__SECRET_KEY": secrets.token_hex(32),
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(logs),
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
            "PATH": os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"],
        }
        with open(os.path.join(data, "migrate.log"), "ab") as log:
            subprocess.run(["airflow", "db", "migrate"], env=self.environment, stdout=log, stderr=log, check=True)
        self.children = [
            self.child("api-server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
            self.child("scheduler"),
            self.child("dag-processor"),
        ]
        self.local = threading.local()
        self.http = httpx.Client(base_url=self.url, timeout=60, limits=httpx.Limits(max_connections=64, max_keepalive_connections=64))
        self.patiently(lambda: self.http.get("/api/v2/version").raise_for_status())
        token = self.http.get("/auth/token").raise_for_status().json()["access_token"]
        self.http.headers["Authorization"] = "Bearer " + token
        version = self.http.get("/api/v2/version").json()["version"]
        return {"version": version, "works": ["empty", "payload", "steps", "fibo", "fan", "many", "load"]}

    def child(self, *args):
        return contract.child(["airflow", *args], args[0] + ".log", env=self.environment)

    def patiently(self, what, seconds=180):
        """Asks again while servers are starting."""
        limit = time.monotonic() + seconds
        while True:
            try:
                return what()
            except httpx.HTTPError:
                if time.monotonic() > limit or any(c.poll() is not None for c in self.children):
                    raise
                time.sleep(0.2)

    def deploy(self):
        """The DAG processor finds the file; a run that ends well says that the scheduler works too. The first may come before it does."""
        self.patiently(lambda: self.http.get("/api/v2/dags/fibo_40").raise_for_status())
        for attempt in range(FIRST_RUNS):
            run = self.patiently(lambda: self.begin("empty", {"n": 0}))
            try:
                self.finish("empty", run, LAST["empty"])
                return
            except RuntimeError:
                if attempt == FIRST_RUNS - 1:
                    raise

    def begin(self, dag, conf):
        answer = self.http.post(f"/api/v2/dags/{dag}/dagRuns", json={"logical_date": None, "conf": conf})
        return answer.raise_for_status().json()["dag_run_id"]

    def rows(self, statement, *values):
        if not hasattr(self.local, "connection"):
            self.local.connection = psycopg2.connect(host="127.0.0.1", port=os.environ["PG_PORT"], user="postgres", dbname="postgres")
            self.local.connection.autocommit = True
        with contextlib.closing(self.local.connection.cursor()) as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall()

    def finish(self, dag, run, task):
        """Waits for a run's end and returns what its last task returned."""
        while True:
            state = self.rows("SELECT state FROM dag_run WHERE dag_id = %s AND run_id = %s", dag, run)[0][0]
            if state == "success":
                break
            if state == "failed":
                raise RuntimeError(f"run {run} of {dag} failed")
            time.sleep(POLL)
        answer = self.http.get(f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances/{task}/xcomEntries/return_value", params={"deserialize": "true"})
        return answer.raise_for_status().json()["value"]

    def one(self, r):
        work = r["work"]
        if work == "fibo":
            return self.fibo(r)
        conf = {"empty": {"n": r.get("arg")}, "steps": {"n": r.get("arg")}, "payload": {"text": r.get("arg")}, "fan": {"n": r.get("n")}}[work]
        return self.finish(work, self.begin(work, conf), LAST[work])

    def fibo(self, r):
        dag, n = f"fibo_{r['n']}", r["n"]
        run = self.begin(dag, {"k": r["k"]})
        state = self.finish(dag, run, "fibo_step" if n == 1 else f"fibo_step__{n - 1}")
        spans = [[began, began, ended] for began, ended in state["times"]]
        if r.get("spans"):
            columns = "scheduled_dttm, start_date, end_date"
            rows = self.rows(f"SELECT {columns} FROM task_instance WHERE dag_id = %s AND run_id = %s ORDER BY start_date", dag, run)
            spans = [[t.astimezone(timezone.utc).timestamp() * 1e6 for t in row] for row in rows]
        return state["values"], spans

    def many(self, r):
        """There is no bulk call."""
        begin = now()
        runs = [self.begin("empty", {"n": i}) for i in range(r["n"])]
        enqueued = now()
        numbers = [self.finish("empty", run, LAST["empty"]) for run in runs]
        return sum(numbers), [[begin, enqueued, now()]]

    def load(self, r):
        for i in range(r["n"]):
            self.begin("mark", {"i": i, "port": r["k"]})

    def stop(self):
        contract.end(self.children)


contract.serve(Peer())
