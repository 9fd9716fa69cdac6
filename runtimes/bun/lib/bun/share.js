// @bun @bun-cjs
(function (exports, require, module, __filename, __dirname) {
// Many runs of one script in one process, one after the other.
//
// Frames in, for each run: I number (8 bytes, little-endian), V changes of the environment (null removes), A arguments. Out: T
// chunks, then I and R or E in one piece; G when the process will begin no further run. The end of the input ends the process.
//
// Between two runs the process waits in a read: what a run has left behind (timers, open requests) goes on while the next one
// waits for something. Module globals stay, that is the point. What the next run must find as a first one would is put back:
// environment, current folder, umask, listeners for signals. Workflows go on side by side instead: see abreast.js.
"use strict";

const { dlopen } = require("bun:ffi");
const FIONREAD = 0x541bn;
const BREATHE = 5; // ms that runs may follow each other without the event loop getting its turn
const READ = 1 << 16;

let boot = null;
let libc = null;
let number = null; // of the run that is going on
const digits = Buffer.alloc(8); // what number is while there is one
const room = Buffer.alloc(READ); // what is read mostly, again and again
let data = Buffer.alloc(0);
let at = 0;

// next returns the next request, null when there are no more.
function next() {
  const run = { number: null, changes: null, args: "", begunBefore: false };
  for (;;) {
    while (data.length - at >= 5) {
      const end = at + 5 + data.readUInt32LE(at + 1);
      if (data.length < end) break;
      const kind = data[at];
      const from = at + 5;
      at = end;
      if (kind === 73) {
        data.copy(digits, 0, from, end);
        run.number = digits;
      } else if (kind === 86) run.changes = data.toString("utf8", from, end);
      else if (kind === 72) run.begunBefore = true;
      else if (kind === 65) {
        run.args = data.toString("utf8", from, end);
        return run;
      }
    }
    if (!more()) return null;
  }
}

// more reads what there is, and all of a frame that is larger than that.
function more() {
  const rest = data.subarray(at);
  const want = rest.length >= 5 ? 5 + rest.readUInt32LE(1) : 0;
  const grown = want <= READ ? room : Buffer.allocUnsafe(want);
  rest.copy(grown); // which may be where it is already, further on
  let have = rest.length;
  do {
    const n = boot.readSome(grown, have);
    if (n === 0) return false;
    have += n;
  } while (have < want);
  data = grown.subarray(0, have);
  at = 0;
  return true;
}

function send(kind, text) {
  const size = Buffer.byteLength(text);
  const out = Buffer.allocUnsafe(18 + size);
  out[0] = 73;
  out.writeUInt32LE(8, 1);
  number.copy(out, 5);
  out[13] = kind.charCodeAt(0);
  out.writeUInt32LE(size, 14);
  out.write(text, 18);
  number = null;
  boot.writeFully(boot.FD, out);
}

const leave = () => boot.writeFully(boot.FD, Buffer.from([71, 0, 0, 0, 0]));

// settle lets everything that was printed be read before the answer goes, so that it is known whose it is.
function settle() {
  if (libc === null) return;
  const end = performance.now() + 5000;
  for (let tries = 0; libc.ioctl(1, FIONREAD, pending) === 0 && pending[0] > 0 && performance.now() < end; tries++) {
    if (tries > 3) Bun.sleepSync(tries < 20 ? 0.05 : 2);
  }
}
const pending = new Int32Array(1);

// --- what a run finds as if it were the first --------------------------------------------------------------------------

const env = process.env;
const variables = Object.assign(Object.create(null), env);
let listeners = null; // by event, once the script is loaded

function prepare(changes) {
  if (changes === null) return;
  for (const [k, v] of Object.entries(JSON.parse(changes))) {
    if (v === null) {
      delete variables[k];
      delete env[k];
    } else {
      variables[k] = v;
      env[k] = v;
    }
  }
}

function restore() {
  if (process.env !== env) process.env = env;
  let known = 0;
  for (const k in variables) {
    known++;
    if (env[k] !== variables[k]) env[k] = variables[k];
  }
  const names = Object.keys(env);
  if (names.length !== known) for (const k of names) if (!(k in variables)) delete env[k];
  if (process.cwd() !== boot.work) process.chdir(boot.work);
  process.umask(0o022);
  for (const event of process.eventNames()) {
    const kept = listeners?.get(event) ?? [];
    if (process.listenerCount(event) !== kept.length) {
      for (const f of process.listeners(event)) if (!kept.includes(f)) process.removeListener(event, f);
    }
  }
}

function keepListeners() {
  listeners = new Map(process.eventNames().map((event) => [event, process.listeners(event)]));
}

// --- the runs ----------------------------------------------------------------------------------------------------------

// deliver answers for the run that is going on when something fails outside of it (an exception that nobody caught, an exit); what
// state the process is in then nobody knows: it ends, and the next run has a fresh one.
function deliver(kind, text) {
  if (number !== null) {
    settle();
    send(kind, text);
  }
  leave();
  boot.realExit(1);
}

async function serve(from, request) {
  boot = from;
  data = request.rest;
  try {
    libc = dlopen("libc.so.6", { ioctl: { args: ["i32", "u64", "ptr"], returns: "i32" } }).symbols;
  } catch {} // then output near the end of a run may be told of the next
  keepListeners();
  let script = null;
  let breath = performance.now();
  for (;;) {
    const run = next();
    if (run === null) break;
    number = run.number;
    let kind = "R";
    let text;
    try {
      prepare(run.changes);
      if (script === null) {
        script = await boot.load(request);
        keepListeners();
        if (script.workflows) {
          const taken = { first: { ...run, number: Buffer.from(digits) }, rest: Buffer.from(data.subarray(at)), variables };
          number = null;
          return require(__dirname + "/abreast.js").serve(boot, script, taken);
        }
      }
      text = await boot.call(script, run.args);
    } catch (e) {
      kind = "E";
      text = boot.failureText(e);
    }
    settle();
    restore();
    send(kind, text);
    if (script === null) { // it could not be loaded: the next run tries anew, in a process that has none of its halves
      leave();
      break;
    }
    if (performance.now() - breath > BREATHE) {
      await new Promise((done) => setImmediate(done));
      breath = performance.now();
    }
  }
  boot.realExit(0);
}

module.exports = { serve, deliver };
})
