// The JavaScript side of what the driver and a peer's adapter say to each other; contract.go says what each request means.
// A peer is an object with async methods start, deploy, one, many, backlog, load and stop.
import { createHash } from 'node:crypto'
import { createInterface } from 'node:readline'
import { writeSync } from 'node:fs'
import { connect } from 'node:net'

export class Unsupported extends Error {}

// now is the wall clock in microseconds.
export const now = () => (performance.timeOrigin + performance.now()) * 1000

export const fibo = (n) => (n < 2 ? n : fibo(n - 1) + fibo(n - 2))

// tell says to the driver that job i ran.
export const tell = (i, port) =>
  new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(`${i}\n`))
    socket.on('error', reject).on('close', resolve).resume()
  })

export const env = (name, without) => process.env[name] ?? without

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

// Waiting hands results from the worker's side to the request that waits for them.
export class Waiting {
  #by = new Map()
  wait(id) {
    return new Promise((resolve, reject) => this.#by.set(id, { resolve, reject }))
  }
  done(id, value) {
    const w = this.#by.get(id)
    this.#by.delete(id)
    w?.resolve(value)
  }
  failed(id, error) {
    const w = this.#by.get(id)
    this.#by.delete(id)
    w?.reject(error)
  }
}

// Count resolves once n results are in, with their sum.
export class Count {
  constructor(n) {
    this.left = n
    this.sum = 0
    this.all = new Promise((resolve) => (this.resolve = resolve))
  }
  add(value) {
    this.sum += value
    if (--this.left === 0) this.resolve(this.sum)
  }
}

const texts = new Map()

// text is the argument of payload, as in contract.go, but for its first 16 characters.
const text = (n) => {
  if (!texts.has(n)) {
    let s = ''
    for (let i = 0; s.length < n; i++) s += createHash('sha256').update(String(i)).digest('hex')
    texts.set(n, s.slice(0, n))
  }
  return texts.get(n)
}

const write = (text) => {
  const bytes = Buffer.from(text)
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(1, bytes, at)
    } catch (e) {
      if (e.code !== 'EAGAIN') throw e
    }
  }
}

export function serve(peer) {
  console.log = console.info = console.error // what the peer prints must not look like an answer
  const lines = createInterface({ input: process.stdin, crlfDelay: Infinity })
  lines.on('line', async (line) => {
    const r = JSON.parse(line)
    let answer = { id: r.id }
    try {
      const payload = r.op === 'one' && r.work === 'payload'
      if (payload) r.arg = r.id.toString(16).padStart(16, '0') + text(r.n).slice(16)
      const value = await peer[r.op](r)
      if (payload && value !== r.arg) throw new Error(`payload: the result is not the ${r.n} characters of the argument`)
      if (payload) answer.value = r.n
      else if (value?.spans) answer = { ...answer, ...value }
      else answer.value = value ?? null
    } catch (e) {
      console.error(e)
      answer.error = String(e?.stack ?? e).slice(0, 2000)
    }
    write(JSON.stringify(answer) + '\n')
  })
  lines.on('close', () => process.exit(0))
}
