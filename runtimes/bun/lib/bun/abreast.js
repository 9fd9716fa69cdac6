// @bun @bun-cjs
(function (exports, require, module, __filename, __dirname) {
// The workflows of one script, side by side in one process.
//
// They wait most of the time, for commits, tasks, people. What belongs to one of them has the frame I with its number before it.
//
//   in   I V H A  begins one (H: it was begun before)   I K  answers one   I X  one is not wanted any more
//   out  C  first of all   I W  asks   I O  what one prints   I X  one does nothing any more   I R, I E  its end   G  the process will end
//
// Each has environment variables of its own, and what it prints by console and process.stdout is in its own log. All else they share.
"use strict";

const { AsyncLocalStorage } = require("node:async_hooks");
const MOST_DROPPED = 1000; // workflows that were dropped: what they still do, nobody knows
const READ = 1 << 18;

const runs = new Map(); // by number
const at = new AsyncLocalStorage(); // the workflow that is at work
let boot = null;
let script = null;
let variables = null; // of the run that came last
let storing = 0; // steps that are being stored
let reading = false; // a read goes on in the background
let due = false; // out will be written
let out = [];
let rest = Buffer.alloc(0);
let dropped = 0;
const next = { number: 0n, begunBefore: false };
const never = () => new Promise(() => {});

// --- out ---------------------------------------------------------------------------------------------------------------

function framed(number, kind, text) {
  const size = Buffer.byteLength(text);
  const frame = Buffer.allocUnsafe(18 + size);
  frame[0] = 73;
  frame.writeUInt32LE(8, 1);
  frame.writeBigUInt64LE(number, 5);
  frame[13] = kind.charCodeAt(0);
  frame.writeUInt32LE(size, 14);
  frame.write(text, 18);
  return frame;
}

function send(number, kind, text) {
  out.push(framed(number, kind, text));
  if (reading && !due) {
    due = true;
    setImmediate(flush);
  }
}

function flush() {
  due = false;
  if (out.length === 0) return;
  const all = out.length === 1 ? out[0] : Buffer.concat(out);
  out = [];
  boot.writeFully(boot.FD, all);
}

const leave = () => out.push(Buffer.from([71, 0, 0, 0, 0]));

// --- in ----------------------------------------------------------------------------------------------------------------

function take(piece) {
  const data = rest.length ? Buffer.concat([rest, piece]) : piece;
  let i = 0;
  while (data.length - i >= 5) {
    const end = i + 5 + data.readUInt32LE(i + 1);
    if (data.length < end) break;
    frame(data[i], data.subarray(i + 5, end));
    i = end;
  }
  rest = Buffer.from(data.subarray(i));
}

function frame(kind, payload) {
  if (kind === 73) next.number = payload.readBigUInt64LE(0);
  else if (kind === 75) runs.get(next.number)?.answer(JSON.parse(payload.toString()));
  else if (kind === 86) change(JSON.parse(payload.toString()));
  else if (kind === 72) next.begunBefore = true;
  else if (kind === 65) {
    begin(payload.toString(), next.begunBefore);
    next.begunBefore = false;
  } else if (kind === 88) {
    const run = runs.get(next.number);
    if (run) {
      drop(run);
      send(next.number, "X", "");
    }
  }
}

function change(changes) {
  variables = { ...variables };
  for (const [k, v] of Object.entries(changes)) {
    if (v === null) delete variables[k];
    else variables[k] = v;
  }
}

// --- runs --------------------------------------------------------------------------------------------------------------

let Run = null; // a class that needs workflow.js

function define({ Run: Base, stray }) {
  Run = class extends Base {
    constructor(number) {
      super();
      this.number = number;
      this.variables = { ...variables };
      this.dropped = false;
      this.stores = new Map(); // key -> resolve
      this.opened = null;
    }

    send(kind, text) {
      if (!this.dropped) send(this.number, kind, text);
    }

    // say passes on what was printed, at once: the function that prints may go on for long.
    say(text) {
      if (this.dropped || text === "") return;
      out.push(framed(this.number, "O", text));
      flush();
    }

    open() {
      const opened = new Promise((resolve) => (this.opened = resolve));
      this.wish({ op: "open" });
      return opened;
    }

    async earlier(kind, key) {
      if (this.dropped) await never();
      return super.earlier(kind, key);
    }

    storing(key) {
      storing++;
      return new Promise((resolve) => this.stores.set(key, resolve));
    }

    listen() {} // serve does

    // end ends this workflow: code that strays from its way must not go on, whatever it catches.
    async end(message) {
      over(this, "E", JSON.stringify({ name: "NondeterminismError", message: stray(message), stack: "" }));
      drop(this);
      await never();
    }

    answer(got) {
      if (got.opened) return this.opened();
      const stored = got.stored ? this.stores.get(got.key) : undefined;
      const resolve = stored ?? this.waiting.get(got.key);
      if (stored) {
        storing--;
        this.stores.delete(got.key);
      } else if (resolve) this.waiting.delete(got.key);
      else this.history.set(got.key, got);
      resolve?.(got);
    }
  };
}

function begin(args, begunBefore) {
  const run = new Run(next.number);
  runs.set(run.number, run);
  at.run(run, async () => {
    let kind = "R";
    let text;
    try {
      if (begunBefore) await run.open();
      text = await boot.call(script, args);
    } catch (e) {
      kind = "E";
      text = boot.failureText(e);
    }
    over(run, kind, text);
  });
}

// over answers for a run, unless it is not wanted any more.
function over(run, kind, text) {
  if (runs.delete(run.number)) send(run.number, kind, text);
}

function drop(run) {
  runs.delete(run.number);
  run.dropped = true;
  storing -= run.stores.size;
  run.stores.clear();
  if (++dropped === MOST_DROPPED) leave();
}

// --- what each has for itself --------------------------------------------------------------------------------------------

// environment is process.env, in which each workflow finds its own variables.
function environment(plain) {
  const own = () => at.getStore()?.variables ?? plain;
  return new Proxy({}, {
    get: (_, k) => own()[k],
    has: (_, k) => k in own(),
    set: (_, k, v) => ((own()[k] = String(v)), true),
    deleteProperty: (_, k) => delete own()[k],
    ownKeys: () => Reflect.ownKeys(own()),
    getOwnPropertyDescriptor: (_, k) => (k in own() ? { value: own()[k], writable: true, enumerable: true, configurable: true } : undefined),
  });
}

function printed(args) {
  if (typeof args[0] === "string" && args[0].includes("%")) return require("node:util").format(...args) + "\n";
  return args.map((a) => (typeof a === "string" ? a : Bun.inspect(a))).join(" ") + "\n";
}

function lendLogs() {
  for (const name of ["log", "info", "debug", "warn", "error", "dir"]) {
    const plain = console[name].bind(console);
    console[name] = (...args) => {
      const run = at.getStore();
      if (run) run.say(printed(name === "dir" ? args.slice(0, 1) : args));
      else plain(...args);
    };
  }
  for (const stream of [process.stdout, process.stderr]) {
    const plain = stream.write.bind(stream);
    stream.write = (chunk, encoding, done) => {
      const run = at.getStore();
      if (!run) return plain(chunk, encoding, done);
      run.say(typeof chunk === "string" ? chunk : Buffer.from(chunk).toString());
      (typeof encoding === "function" ? encoding : done)?.();
      return true;
    };
  }
}

// --- the loop ----------------------------------------------------------------------------------------------------------

const turn = () => new Promise((done) => setImmediate(done));

// read waits for what comes. A commit takes less than the event loop's detour, so while steps are being stored it is waited for at once.
// So is the next workflow when there is none.
function read() {
  const piece = Buffer.allocUnsafe(READ);
  if (storing > 0 || runs.size === 0) return piece.subarray(0, boot.readSome(piece, 0));
  reading = true;
  return new Promise((done) =>
    require("node:fs").read(boot.FD, piece, 0, READ, null, (error, n) => {
      reading = false;
      done(piece.subarray(0, error ? 0 : n));
    }),
  );
}

// serve runs workflows until there are no more. The first has been taken, and what came behind it.
async function serve(from, what, taken) {
  [boot, script, variables] = [from, what, { ...taken.variables }];
  define(script.workflows);
  script.workflows.share(() => at.getStore() ?? null);
  process.env = environment(process.env);
  lendLogs();
  out.push(Buffer.from([67, 0, 0, 0, 0]));
  next.number = taken.first.number.readBigUInt64LE(0);
  begin(taken.first.args, taken.first.begunBefore);
  take(taken.rest);
  for (;;) {
    await turn();
    flush();
    const piece = await read();
    if (piece.length === 0) break;
    take(piece);
  }
  boot.realExit(runs.size ? 1 : 0);
}

module.exports = { serve };
})
