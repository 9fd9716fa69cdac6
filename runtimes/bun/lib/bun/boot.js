// @bun @bun-cjs
(function (exports, require, module, __filename, __dirname) {
// The two lines above say that this is plain CommonJS: Bun does not transpile it at every start, which takes more than 1 ms.
//
// Boots once, waits for one request on descriptor 3, runs one script, answers, ends.
//
// Frames: a type byte, the payload's length (uint32, little-endian), the payload. In: S source, P path, N entry, V environment
// (name=value and a zero byte for each variable), A arguments (the last). Out: Y ready, T chunk of a stream, then R result or E failure, once.
// The payload of N is the name of the function, a line end, and a JSON array with [name, required, kind] of each parameter in
// order; kind is "", "date", "bigint" or "bytes" and says what a JSON value is made into. D in the place of A: share.js takes over.
"use strict";

const FD = 3;
const MAX_PAYLOAD = 64 << 20;
// Milliseconds from the answer to the end: the kernel takes a while to take so large a process apart, and whoever waits for the result
// would wait half as long again, for the commit that comes just then. A run that finds no other place waits these two.
const LINGER = 2;
const READ = 2048; // at least: all of most requests, and no memory that nobody has touched yet
const work = process.cwd();
const file = work + "/main.ts";
const realExit = process.exit.bind(process);
let display = "main.ts";
let source = "";
let mark = "?practice"; // tells the module of the practice from the script's
let answered = true; // nobody has asked yet
let shared = null; // share.js, in a process that runs many calls
let workflows = null; // workflow.js, for scripts that name its package

class Refusal extends Error {
  constructor(name, message) {
    super(message);
    this.name = name;
  }
}

// Loading node:fs takes 4 ms, read and write of libc take 1. Where they cannot be had or fail, node:fs does it, or says why not.
let libc = null;
try {
  const call = { args: ["i32", "ptr", "usize"], returns: "i32" };
  libc = require("bun:ffi").dlopen("libc.so.6", { read: call, write: call }).symbols;
} catch {}

function readSome(buf, at) {
  const n = libc === null ? -1 : libc.read(FD, buf.subarray(at), buf.length - at);
  return n >= 0 ? n : require("node:fs").readSync(FD, buf, at, buf.length - at, null);
}

function writeSome(fd, buf, at) {
  const n = libc === null ? -1 : libc.write(fd, buf.subarray(at), buf.length - at);
  return n >= 0 ? n : require("node:fs").writeSync(fd, buf, at, buf.length - at);
}

// readMore returns rest and what comes after it, want bytes at least.
function readMore(rest, want) {
  const grown = Buffer.allocUnsafe(Math.max(READ, want));
  rest.copy(grown);
  let have = rest.length;
  do {
    const n = readSome(grown, have);
    if (n === 0) realExit(0); // the server has gone before asking
    have += n;
  } while (have < want);
  return grown.subarray(0, have);
}

// readRequest begins with what has been read already. What has come behind the request is its rest.
function readRequest(data) {
  const request = { rest: null };
  for (let at = 0; ; ) {
    const size = data.length - at < 5 ? 5 : 5 + data.readUInt32LE(at + 1);
    if (data.length - at < size) {
      data = readMore(data.subarray(at), size);
      at = 0;
      continue;
    }
    const kind = String.fromCharCode(data[at]);
    request[kind] = data.subarray(at + 5, at + size);
    at += size;
    if (kind !== "A" && kind !== "D") continue;
    request.rest = data.subarray(at);
    return request;
  }
}

function writeFully(fd, buf) {
  for (let at = 0; at < buf.length; ) {
    try {
      at += writeSome(fd, buf, at);
    } catch (e) {
      if (e.code !== "EAGAIN") throw e;
      Bun.sleepSync(1);
    }
  }
}

function frame(kind, text) {
  const size = Buffer.byteLength(text);
  const out = Buffer.allocUnsafe(5 + size);
  out[0] = kind.charCodeAt(0);
  out.writeUInt32LE(size, 1);
  out.write(text, 5);
  return out;
}

function send(kind, text) {
  writeFully(FD, frame(kind, text));
}

// plainStream replaces process.stdout or stderr by a stream that writes at once, as Node's does on pipes. Bun's own writes in the
// background, so that the end of the process would cut it off, and takes tens of milliseconds to make.
function plainStream(name, fd) {
  let stream = null;
  const make = () => {
    const { Writable } = require("node:stream");
    const write = (chunk, encoding, done) => {
      try {
        writeFully(fd, chunk);
        done();
      } catch (e) {
        done(e);
      }
    };
    return Object.assign(new Writable({ decodeStrings: true, write }), { fd, isTTY: false });
  };
  process[name] = null; // without it the next line makes Bun's own stream, to replace it: 13 ms
  Object.defineProperty(process, name, {
    configurable: true,
    enumerable: true,
    get: () => (stream ??= make()),
    set: (other) => (stream = other),
  });
}

// --- results ---------------------------------------------------------------------------------------------------------

// replace is JSON.stringify's replacer: `this[key]` is the value before its own toJSON.
function replace(key, value) {
  const raw = this[key];
  switch (typeof raw) {
    case "bigint":
      return raw >= Number.MIN_SAFE_INTEGER && raw <= Number.MAX_SAFE_INTEGER ? Number(raw) : raw.toString();
    case "function":
    case "symbol":
      throw new Refusal("ResultError", "");
    case "object":
      return raw === null ? null : replaceObject(raw, value);
  }
  return value;
}

function replaceObject(raw, value) {
  if (raw instanceof Uint8Array || raw instanceof ArrayBuffer) return Buffer.from(raw).toString("base64");
  if (ArrayBuffer.isView(raw) && !(raw instanceof DataView)) return Array.from(raw);
  if (raw instanceof Map) {
    const entries = [...raw];
    return entries.every(([k]) => typeof k === "string" || typeof k === "number") ? Object.fromEntries(entries) : entries;
  }
  if (raw instanceof Set) return [...raw];
  if (raw instanceof Error) return { name: raw.name, message: raw.message, ...raw };
  if (raw instanceof RegExp) return String(raw);
  if (raw instanceof Promise) throw new Refusal("ResultError", "");
  return value;
}

// culprit finds where a value that cannot be JSON is.
function culprit(value, where, above) {
  if (typeof value === "function" || typeof value === "symbol") return `${where}: a ${typeof value}`;
  if (typeof value !== "object" || value === null) return "";
  if (value instanceof Promise) return `${where}: a Promise (is an await missing?)`;
  if (above.includes(value)) return `${where}: a value that contains itself`;
  const inside = [...above, value];
  const entries = value instanceof Map ? [...value] : value instanceof Set ? [...value].map((v, i) => [i, v]) : Object.entries(value);
  for (const [k, v] of entries) {
    const found = culprit(v, Array.isArray(value) ? `${where}[${k}]` : `${where}.${String(k)}`, inside);
    if (found) return found;
  }
  return "";
}

function encode(value) {
  if (value === undefined) return "null";
  let text;
  try {
    text = JSON.stringify(value, replace);
  } catch (e) {
    let found = "";
    try {
      found = culprit(value, "result", []);
    } catch {} // too deep to look at
    throw new Refusal("ResultError", found ? `${found} cannot be made JSON` : `the result cannot be made JSON: ${e.message}`);
  }
  if (text === undefined) return "null";
  if (text.length > MAX_PAYLOAD || (text.length > MAX_PAYLOAD / 3 && Buffer.byteLength(text) > MAX_PAYLOAD)) {
    throw new Refusal("ResultError", `the result is ${Buffer.byteLength(text)} bytes of JSON; the most is 64 MiB`);
  }
  return text;
}

// --- failures --------------------------------------------------------------------------------------------------------

// shown replaces the file's name by the script's path.
function shown(text) {
  return String(text).replaceAll(file, display);
}

function userFrames(stack) {
  return stack
    .split("\n")
    .filter((line) => /^\s+at /.test(line) && line.includes(file))
    .map((line) => shown(line).replace("file://", ""));
}

function messageOf(e) {
  if (e instanceof Error) return shown(e.message);
  if (typeof e === "string") return e;
  try {
    return JSON.stringify(e, replace) ?? String(e);
  } catch {
    return "(an error that cannot be shown)";
  }
}

function stackOf(e) {
  const lines = [];
  for (let depth = 0; e instanceof Error && depth < 5; e = e.cause, depth++) {
    lines.push((depth ? "Caused by: " : "") + `${e.name}: ${shown(e.message)}`, ...userFrames(String(e.stack)));
  }
  return lines.join("\n");
}

const notExtra = new Set(["name", "message", "stack", "cause", "line", "column", "originalLine", "originalColumn", "sourceURL"]);

function failureOf(e) {
  if (e instanceof Refusal) return { name: e.name, message: e.message, stack: "" };
  if (/^(Build|Resolve)Message$/.test((e?.errors?.[0] ?? e)?.constructor?.name)) {
    try {
      const compile = require(__dirname + "/compile.js").failure(e, { file, source, display, shown });
      if (compile) return compile;
    } catch {} // no descriptor is left, for one
  }
  const name = e instanceof Error ? String(e.name || "Error") : typeof e === "object" && typeof e?.name === "string" ? e.name : "Error";
  const out = { name, message: messageOf(e), stack: stackOf(e) };
  if (e instanceof Error) {
    try {
      const extra = Object.fromEntries(Object.entries(e).filter(([k]) => !notExtra.has(k)));
      const text = Object.keys(extra).length ? JSON.stringify(extra, replace) : "";
      if (text && text.length <= 1 << 16) out.extra = JSON.parse(text);
    } catch {} // a property that is no data: the error itself is what matters
  }
  return out;
}

// answer sends the one answer and ends the process. What the script printed is out already: console and the streams below
// write at once.
function answer(kind, text) {
  if (shared) return shared.deliver(kind, text);
  if (answered) return;
  answered = true;
  send(kind, text);
  Bun.sleepSync(LINGER);
  realExit(kind === "R" ? 0 : 1);
}

function failureText(e) {
  try {
    return JSON.stringify(failureOf(e));
  } catch {
    return '{"name":"Error","message":"(an error that cannot be shown)","stack":""}';
  }
}

function fail(e) {
  answer("E", failureText(e));
}

// --- the run ---------------------------------------------------------------------------------------------------------

function convert(name, value, kind) {
  if (value === null || value === undefined) return value;
  if (kind === "date" && (typeof value === "string" || typeof value === "number")) {
    const date = new Date(value);
    if (Number.isNaN(date.getTime())) throw new Refusal("ArgumentError", `${name}: want a date, got ${JSON.stringify(value)}`);
    return date;
  }
  if (kind === "bigint" && (typeof value === "string" || Number.isInteger(value))) {
    try {
      return BigInt(value);
    } catch {
      throw new Refusal("ArgumentError", `${name}: want an integer, got ${JSON.stringify(value)}`);
    }
  }
  if (kind === "bytes" && typeof value === "string") return Buffer.from(value.replace(/^data:[^,]*,/, ""), "base64");
  return value;
}

// exactBigints parses arguments so that a parameter of type bigint gets all its digits.
function parseArgs(text, parameters) {
  const big = new Set(parameters.filter((p) => p[2] === "bigint").map((p) => p[0]));
  if (big.size === 0) return JSON.parse(text);
  return JSON.parse(text, (k, v, context) => (big.has(k) && /^-?\d+$/.test(context?.source ?? "") ? context.source : v));
}

// plainNames reads parameter names from a function that the parser of the server did not find in the source.
function plainNames(main) {
  const m = /^(?:async\s*)?(?:function\s*\*?\s*[\w$]*\s*)?\(?([\w$\s,]*)\)?/.exec(main.toString());
  return m ? m[1].split(",").map((s) => s.trim()).filter(Boolean).map((s) => [s, false, ""]) : [];
}

function bind(main, entry, parameters, args) {
  const missing = parameters.filter(([name, required]) => required && args[name] === undefined).map(([name]) => `'${name}'`);
  if (missing.length) {
    const s = missing.length > 1 ? "s" : "";
    throw new Refusal("ArgumentError", `${entry}() is missing the required argument${s} ${missing.join(", ")}`);
  }
  return parameters.map(([name, , kind]) => convert(name, args[name], kind));
}

async function stream(result) {
  const parts = [];
  const decoder = new TextDecoder();
  const iterator = (result[Symbol.asyncIterator] ?? result[Symbol.iterator]).call(result);
  for (;;) {
    const { done, value } = await iterator.next();
    if (done) return value === undefined ? parts.join("") : value;
    const text = typeof value === "string" ? value : value instanceof Uint8Array ? decoder.decode(value, { stream: true }) : encode(value);
    send("T", text);
    parts.push(text);
  }
}

function streams(result) {
  if (typeof result !== "object" || result === null) return false;
  return typeof result[Symbol.asyncIterator] === "function" || (typeof result.next === "function" && typeof result[Symbol.iterator] === "function");
}

// setVariables adds variables to the environment: name=value and a zero byte each.
function setVariables(block) {
  const env = process.env;
  for (let at = 0, end; (end = block.indexOf("\0", at)) > 0; at = end + 1) {
    const is = block.indexOf("=", at);
    env[block.slice(at, is)] = block.slice(is + 1, end);
  }
}

// load imports the script and finds its function.
async function load(request) {
  if (request.P?.length) display = request.P.toString() + (/\.[cm]?[jt]sx?$/.test(request.P.toString()) ? "" : ".ts");
  const [entry, list] = (request.N?.toString() || "main").split("\n", 2);
  const known = list ? JSON.parse(list) : null;
  if (request.V) setVariables(request.V.toString());
  source = request.S?.toString() ?? "";
  if (source.includes("windmill-client")) {
    workflows = require(__dirname + "/workflow.js");
    const refuse = (name, message) => fail(new Refusal(name, message));
    const refusal = (name, message) => new Refusal(name, message);
    workflows.install(
      { FD, realExit, readSome, send, encode, failureText, plainNames, refuse, refusal, source: () => source },
      "/deps/node_modules/windmill-client",
    );
  }
  await Bun.write(file, source);
  const module = await import(file + mark);
  if (entry.startsWith("task:")) return { task: entry.slice(5), entry, parameters: [] };
  let main = module[entry] ?? module.default?.[entry];
  if (main === undefined && entry === "main") main = module.default;
  if (typeof main !== "function") throw new Refusal("NameError", `the script exports no function ${entry}`);
  const marked = workflows?.functionOf(main);
  const begunBefore = request.H !== undefined; // of a workflow that has the process for itself
  return { main, entry, parameters: known ?? plainNames(marked ?? main), workflows: marked && workflows, begunBefore };
}

// call calls the function once and returns the result's JSON.
async function call({ main, entry, parameters, task, workflows: own, begunBefore }, text) {
  const args = parseArgs(text, parameters);
  if (typeof args !== "object" || args === null || Array.isArray(args)) throw new Refusal("ArgumentError", "arguments: want a JSON object");
  if (task) return encode(await workflows.callTask(task, args));
  if (own) return encode(await own.begin(main, bind(main, entry, parameters, args), begunBefore));
  let result = await main(...bind(main, entry, parameters, args));
  if (streams(result)) result = await stream(result);
  return encode(result);
}

async function run(request) {
  if (request.D) {
    shared = require(__dirname + "/share.js");
    return shared.serve({ FD, work, realExit, readSome, writeFully, load, call, failureText }, request);
  }
  answer("R", await call(await load(request), request.A.toString()));
}

plainStream("stdout", 1);
plainStream("stderr", 2);
process.on("uncaughtException", fail);
process.on("unhandledRejection", fail);
process.on("beforeExit", () => fail(new Refusal("DeadlockError", "main waits for something that nothing is left to bring about")));
process.exit = (code) => {
  const status = code ?? process.exitCode ?? 0;
  fail(new Refusal("ExitError", `the script ended itself by process.exit(${status}) before it returned a result`));
  realExit(status);
};

// practise runs a script that is nobody's, by the way of every other, while there is nobody waiting: Bun loads its transpiler, and
// compiles what it needs of this file. The script lies where the real one will, and only its answer goes nowhere.
async function practise() {
  const script = "type A = { n: number };\nexport async function main(a: A, b: string = `x`): Promise<unknown> { return { ...a, b }; }\n";
  const environment = process.env.LANG ? `LANG=${process.env.LANG}\0` : "";
  const parts = [["S", script], ["P", "practice"], ["N", 'main\n[["a",true,""],["b",false,""]]'], ["V", environment], ["A", '{"a":{"n":1}}']];
  try {
    await run(readRequest(Buffer.concat(parts.map(([kind, text]) => frame(kind, text)))));
  } catch {} // no place to write: the first script is slower, that is all
  display = "main.ts";
  source = mark = "";
  answered = false;
}

practise().then(() => {
  send("Y", "");
  return run(readRequest(Buffer.alloc(0)));
}).catch(fail);
})
