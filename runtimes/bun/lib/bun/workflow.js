// @bun @bun-cjs
(function (exports, require, module, __filename, __dirname) {
// Workflows as code: what import { workflow, task, step } from "windmill-client" means in a job.
//
// A workflow asks for steps by name, over descriptor 3: each is a frame W with a JSON object, and its answer a frame K. What has been
// answered once is stored; when the workflow is started anew, after a long wait or a crash, it gets those answers again and goes on
// where it was. A step is known by its name and by how often the name was asked for before it: "load", "load_2".
//
// To the server: {op: "open"} if it was begun before, then step, task, sleep and approval; running: how many functions of steps are at work. From it:
// {key, kind, done, ok, value, job}; the answers of earlier starts come first, {opened: true} ends them.
"use strict";

const GRACE = 1000; // ms that a workflow may take until it has asked for all it asked for before
const mark = Symbol("workflow");

let boot = null;
let alone = null; // the workflow that has this process for itself
let current = () => alone; // the workflow that is at work
const tasks = []; // in the order in which the script defines them

class TaskError extends Error {
  constructor(message, from) {
    super(message);
    this.name = "TaskError";
    this.step_key = from.key;
    this.child_job_id = from.job ?? null;
    this.result = from.value;
  }
}

// Run is the conversation with the server about one workflow. How it is led is for others to say: see Alone.
class Run {
  constructor() {
    this.history = new Map(); // answers of earlier starts that were not asked for yet
    this.waiting = new Map(); // key -> resolve
    this.used = new Set();
    this.counts = new Map();
    this.running = 0;
  }

  wish(fields, value) {
    fields.running = this.running;
    let text = JSON.stringify(fields);
    if (value !== undefined) text = text.slice(0, -1) + `,"value":${value}}`;
    this.send("W", text);
  }

  wait(key) {
    return new Promise((resolve) => {
      this.waiting.set(key, resolve);
      this.listen();
    });
  }

  // --- names ---

  name(name) {
    let n = (this.counts.get(name) ?? 0) + 1;
    let key = n === 1 ? name : `${name}_${n}`;
    while (this.used.has(key)) key = `${name}_${++n}`;
    this.counts.set(name, n);
    this.used.add(key);
    return key;
  }

  nameOnce(name) {
    if (this.used.has(name)) throw new Error(`the workflow has asked for "${name}" before: the key of an approval must be its own`);
    return this.name(name);
  }

  async earlier(kind, key) {
    const old = this.history.get(key);
    if (old) {
      this.history.delete(key);
      if (old.kind !== kind) await this.end(`${key} is a ${kind} this time, and was a ${old.kind} when the workflow ran first`);
      return old;
    }
    if (this.history.size) await this.catchUp(`it asks for the ${kind} ${key}`);
    return null;
  }

  // catchUp waits until everything that was asked for before has been: nothing new may begin while the workflow strays from its way.
  async catchUp(what) {
    const until = performance.now() + GRACE;
    for (let turn = 0; this.history.size && performance.now() < until; turn++) {
      await new Promise((done) => (turn < 20 ? setImmediate(done) : setTimeout(done, 5)));
    }
    if (this.history.size === 0) return;
    const old = this.history.values().next().value;
    await this.end(`this time ${what}, and not for the ${old.kind} ${old.key} that it asked for when it ran first`);
  }

  // --- what workflows ask for ---

  async step(key, name, fn) {
    const old = await this.earlier("step", key);
    if (old) return outcome(old);
    this.running++;
    if (this.waiting.size) this.wish({ op: "begin" });
    let ok = true;
    let payload;
    try {
      payload = boot.encode(await fn());
    } catch (e) {
      ok = false;
      payload = `{"error":${boot.failureText(e)}}`;
    }
    this.running--;
    this.wish({ op: "step", key, name, ok }, payload);
    await this.storing(key);
    return outcome({ key, kind: "step", ok, value: JSON.parse(payload) });
  }

  async ask(kind, key, fields, args) {
    const old = await this.earlier(kind, key);
    if (old?.done) return outcome(old);
    const answered = this.wait(key);
    if (!old) this.wish({ op: kind, key, ...fields }, args === undefined ? undefined : boot.encode(args));
    return outcome(await answered);
  }

  // whole runs the workflow to its end.
  async whole(main, args) {
    const result = await main(...args);
    if (this.history.size) await this.catchUp("it ended");
    return result;
  }
}

// Alone is a workflow that has the process for itself.
class Alone extends Run {
  constructor() {
    super();
    this.stored = new Set();
    this.buffer = Buffer.alloc(0);
    this.listens = false;
    this.opened = false;
  }

  open() {
    this.wish({ op: "open" });
    while (!this.opened) this.read();
  }

  send(kind, text) {
    boot.send(kind, text);
  }

  async storing(key) {
    if (this.listens) await this.wait(key);
    else while (!this.stored.delete(key)) this.read(); // a commit takes less than the event loop's detour
  }

  // end ends the job: code that strays from its way must not go on, whatever it catches.
  async end(message) {
    boot.refuse("NondeterminismError", stray(message));
  }

  read() {
    const piece = Buffer.allocUnsafe(1 << 16);
    this.take(piece, boot.readSome(piece, 0));
  }

  take(piece, n) {
    if (n === 0) boot.realExit(1); // the server has gone
    let data = piece.subarray(0, n);
    if (this.buffer.length) data = Buffer.concat([this.buffer, data]);
    let at = 0;
    while (data.length - at >= 5) {
      const end = at + 5 + data.readUInt32LE(at + 1);
      if (data.length < end) break;
      this.answer(JSON.parse(data.toString("utf8", at + 5, end)));
      at = end;
    }
    this.buffer = Buffer.from(data.subarray(at));
  }

  answer(got) {
    const resolve = this.waiting.get(got.key);
    if (got.opened) this.opened = true;
    else if (resolve) {
      this.waiting.delete(got.key);
      resolve(got);
    } else if (got.stored) this.stored.add(got.key);
    else this.history.set(got.key, got);
  }

  // listen reads answers while somebody waits for one. The read in the background keeps the process alive, too.
  listen() {
    if (this.listens || this.waiting.size === 0) return;
    this.listens = true;
    const piece = Buffer.allocUnsafe(1 << 16);
    require("node:fs").read(boot.FD, piece, 0, piece.length, null, (error, n) => {
      this.listens = false;
      if (error) boot.realExit(1);
      this.take(piece, n);
      this.listen();
    });
  }
}

function outcome(got) {
  if (got.ok) return got.value;
  const error = got.value?.error ?? {};
  const what = { task: "Task", approval: "Approval" }[got.kind] ?? "Step";
  throw new TaskError(`${what} '${got.key}' failed: ${error.name ?? "Error"}: ${error.message ?? ""}`, got);
}

// stray tells of a workflow that is not deterministic.
function stray(message) {
  return `the workflow is not deterministic: ${message}; what varies from run to run (time, chance, answers of others) belongs in a step`;
}

const roundTrip = (value) => JSON.parse(boot.encode(value));

// --- the names of the package ------------------------------------------------------------------------------------------

// workflow marks the function that the script begins with. It must ask for the same steps every time it runs with the same arguments.
function workflow(fn) {
  const marked = (...args) => fn(...args);
  marked[mark] = fn;
  return marked;
}

// step calls fn in this process, once: its result is stored, and given again whenever the workflow is started anew.
async function step(name, fn) {
  const run = current();
  if (run === null) return roundTrip(await fn());
  return run.step(run.name(name), name, fn);
}

// sleep waits; a long wait holds neither process nor slot.
async function sleep(seconds) {
  const run = current();
  if (run === null) return new Promise((done) => setTimeout(done, seconds * 1000));
  await run.ask("sleep", run.name("sleep"), { name: "sleep", seconds: Number(seconds) });
}

// waitForApproval waits until somebody answers, by a link of getApprovalUrls(key); it returns {value, approver, approved}.
async function waitForApproval({ timeout = 1800, form, selfApproval = true, key, skin, description } = {}) {
  const run = current();
  if (run === null) throw new Error("waitForApproval can only be called inside a workflow");
  const name = key ?? "approval";
  const fields = { name, seconds: Number(timeout), options: { form, self_approval: selfApproval, description, skin } };
  return run.ask("approval", key === undefined ? run.name(name) : run.nameOnce(name), fields);
}

// getApprovalUrls returns the links that answer waitForApproval({ key: stepKey }).
const getApprovalUrls = (stepKey = "approval", approver) => links("wac_approval_urls", encodeURIComponent(stepKey), approver);

// getResumeUrls returns the links that answer whatever the workflow waits for when somebody follows them.
const getResumeUrls = (approver) => links("resume_urls", crypto.getRandomValues(new Uint32Array(1))[0], approver);

async function links(kind, which, approver) {
  const env = process.env;
  const query = approver === undefined ? "" : `?approver=${encodeURIComponent(approver)}`;
  const path = `/api/w/${env.WM_WORKSPACE}/jobs/${kind}/${env.WM_JOB_ID}/${which}${query}`;
  const answer = await fetch((env.BASE_INTERNAL_URL || env.WM_BASE_URL) + path, { headers: { Authorization: `Bearer ${env.WM_TOKEN}` } });
  if (!answer.ok) throw new Error(`the links of an approval: ${answer.status} ${await answer.text()}`);
  return answer.json();
}

// parallel returns the results of fn(item) for each item, in order; at most concurrency at the same time.
async function parallel(items, fn, options) {
  const size = options?.concurrency > 0 ? options.concurrency : items.length || 1;
  const results = [];
  for (let i = 0; i < items.length; i += size) {
    results.push(...(await Promise.all(items.slice(i, i + size).map((item) => fn(item)))));
  }
  return results;
}

const knownOptions = ["timeout", "tag", "cache_ttl", "priority", "concurrency_limit", "concurrency_key", "concurrency_time_window_s", "retry"];
const knownRetry = ["attempts", "delay", "multiplier", "max_delay"];

function checked(options = {}) {
  for (const k of Object.keys(options)) if (!knownOptions.includes(k)) throw new TypeError(`a task has no option ${k}`);
  const retry = options.retry;
  if (retry !== undefined) {
    const whole = Number.isInteger(retry?.attempts) && retry.attempts >= 0 && retry.attempts <= 100;
    if (!whole || Object.keys(retry).some((k) => !knownRetry.includes(k))) {
      throw new TypeError(`retry: want {attempts: 0 to 100, delay: s, multiplier: n, max_delay: s}, got ${JSON.stringify(retry)}`);
    }
  }
  return options;
}

// nameOf finds out what a task is called: by its function, or by the variable that the source puts it in.
function nameOf(t) {
  if (t.name) return t.name;
  const found = [...boot.source().matchAll(/([\w$]+)\s*(?::[^=;]+)?=\s*task\s*(?:<[^(]*>)?\(/g)].map((m) => m[1]);
  t.name = (found.length === tasks.length && found[tasks.indexOf(t)]) || `task_${tasks.indexOf(t) + 1}`;
  return t.name;
}

function namesOf(fn) {
  return boot.plainNames(fn).map((p) => p[0]);
}

// task makes a function a task: called in a workflow it runs as a job of its own.
function task(fnOrPath, fnOrOptions, options) {
  const path = typeof fnOrPath === "string" ? fnOrPath : undefined;
  const fn = path === undefined ? fnOrPath : fnOrOptions;
  const t = { fn, name: fn.name, options: checked(path === undefined ? fnOrOptions : options) };
  tasks.push(t);
  return (...args) => {
    const run = current();
    if (run === null) return (async () => roundTrip(await fn(...args)))();
    const names = namesOf(fn);
    const given = Object.fromEntries(args.map((a, i) => [names[i] ?? `arg${i}`, a]));
    const name = nameOf(t);
    return run.ask("task", run.name(name), { name, path, options: t.options }, given);
  };
}

function deployed(flow, path, options) {
  const name = path.split("/").pop();
  const fields = { name, path, flow, options: checked(options) };
  return (...args) => {
    const run = current();
    if (run === null) throw new Error(`${flow ? "taskFlow" : "taskScript"}("${path}") can only be called inside a workflow`);
    const given = args.length === 1 && typeof args[0] === "object" && args[0] !== null ? args[0] : Object.fromEntries(args.map((a, i) => [`arg${i}`, a]));
    return run.ask("task", run.name(name), fields, given);
  };
}

const taskScript = (path, options) => deployed(false, path, options);
const taskFlow = (path, options) => deployed(true, path, options);

const names = { workflow, task, taskScript, taskFlow, step, sleep, waitForApproval, getApprovalUrls, getResumeUrls, parallel, TaskError };

// --- how a job runs them -----------------------------------------------------------------------------------------------

// functionOf is what a workflow was made of; undefined: it is none.
const functionOf = (main) => main?.[mark];

// begin runs a workflow to its end.
function begin(main, args, begunBefore) {
  const other = current(); // one of several in this process
  if (other !== null) return other.whole(main, args);
  alone = new Alone();
  if (begunBefore) alone.open();
  return alone.whole(main, args);
}

// share has several workflows in this process; find says which is at work, null when none is.
function share(find) {
  current = find;
}

// callTask runs a task, in the job that was made for it.
function callTask(name, args) {
  const t = tasks.find((x) => nameOf(x) === name);
  if (!t) throw boot.refusal("NameError", `the script defines no task ${name} at its top level`);
  const known = namesOf(t.fn);
  const list = [];
  for (let i = 0; i < known.length || `arg${i}` in args; i++) list.push(args[known[i] ?? `arg${i}`]);
  return t.fn(...list);
}

// install makes the package's names these, for the script that is about to be imported. Of an installed package the others stay.
function install(from, installed) {
  boot = from;
  Bun.plugin({
    name: "workflow",
    setup(build) {
      build.module("windmill-client", () => {
        let real = {};
        try {
          real = require(installed);
        } catch {} // it is not installed: these names are all there is
        const { default: whole, ...rest } = real;
        return { exports: { ...rest, ...names, default: { ...whole, ...names } }, loader: "object" };
      });
    },
  });
}

module.exports = { install, begin, share, functionOf, callTask, Run, stray };
})
