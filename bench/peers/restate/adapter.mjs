// Restate: server, service and client are three processes. One call to the ingress starts a handler and answers with its result, and the
// client keeps its connections.
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { createServer } from 'node:net'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { env, now, serve, sleep } from './contract.mjs'

const data = env('DATA')
const agent = new Agent({ keepAlive: true, maxSockets: 512 })
const atATime = 256 // calls of many and load
let ports, children

// post answers with what the server said, as JSON.
const post = (port, path, body) =>
  new Promise((resolve, reject) => {
    const text = JSON.stringify(body)
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }
    const r = request({ host: '127.0.0.1', port, path, method: 'POST', agent, headers }, (answer) => {
      const parts = []
      answer.on('data', (part) => parts.push(part))
      answer.on('end', () => {
        const said = Buffer.concat(parts).toString()
        if (answer.statusCode >= 300) reject(new Error(`${path}: status ${answer.statusCode}: ${said}`))
        else resolve(said === '' ? null : JSON.parse(said))
      })
    })
    r.on('error', reject)
    r.end(text)
  })

const freePort = () =>
  new Promise((resolve) => {
    const s = createServer().listen(0, '127.0.0.1', () => {
      const { port } = s.address()
      s.close(() => resolve(port))
    })
  })

const child = (command, args, log, more = {}) => {
  const out = openSync(join(data, log), 'a')
  return spawn(command, args, { stdio: ['ignore', out, out], env: { ...process.env, ...more } })
}

// until asks again while nobody answers.
const until = async (what) => {
  for (const limit = now() + 60e6; ; await sleep(50)) {
    try {
      return await what()
    } catch (e) {
      if (now() > limit) throw e
    }
  }
}

// all calls each(0) to each(n-1), so many at a time.
const all = async (n, each) => {
  let next = 0
  const work = async () => {
    while (next < n) await each(next++)
  }
  await Promise.all(Array.from({ length: Math.min(n, atATime) }, work))
}

const call = (handler, body) => post(ports.ingress, `/bench/${handler}`, body)

serve({
  async start() {
    // A server that starts again on its data finds the service where it was.
    const file = join(data, 'ports.json')
    if (!existsSync(file)) writeFileSync(file, JSON.stringify({ ingress: await freePort(), admin: await freePort(), node: await freePort(), service: await freePort() }))
    ports = JSON.parse(readFileSync(file))
    mkdirSync(join(data, 'restate'), { recursive: true })
    const binary = new URL('./node_modules/@restatedev/restate-server-linux-x64/bin/restate-server', import.meta.url).pathname
    const settings = {
      RESTATE_BASE_DIR: join(data, 'restate'), RESTATE_NODE_NAME: 'bench', RESTATE_LISTEN_MODE: 'tcp', RESTATE_BIND_IP: '127.0.0.1',
      RESTATE_BIND_PORT: String(ports.node), RESTATE_INGRESS__BIND_PORT: String(ports.ingress), RESTATE_ADMIN__BIND_PORT: String(ports.admin),
      RESTATE_DISABLE_TELEMETRY: 'true', RESTATE_LOG_FILTER: 'warn',
    }
    if (env('PARTITIONS') === 'cores') settings.RESTATE_DEFAULT_NUM_PARTITIONS = String(cpus().length)
    children = [
      child(process.execPath, [new URL('./workflow.mjs', import.meta.url).pathname, String(ports.service)], 'service.log'),
      child(binary, ['--no-logo'], 'server.log', settings),
    ]
    await until(() => post(ports.admin, '/deployments', { uri: `http://127.0.0.1:${ports.service}` }))
    await until(() => call('empty', 1))
    const version = JSON.parse(readFileSync(new URL('./node_modules/@restatedev/restate-server/package.json', import.meta.url))).version
    return { version, works: ['empty', 'payload', 'steps', 'fibo', 'fan', 'many', 'load'] }
  },
  async deploy() {}, // the service was registered when the server started
  async one(r) {
    if (r.work === 'fan') return call('fan', r.n)
    if (r.work !== 'fibo') return call(r.work, r.arg)
    const { values, times } = await call('fibo', { n: r.n, k: r.k })
    // The handler goes on when a step's end is stored: that is when it asks for the next.
    return { value: values, spans: times.map(([began, ended], i) => [i > 0 ? times[i - 1][1] : began, began, ended]) }
  },
  // There is no bulk call; a call is accepted and answered in one.
  async many(r) {
    const begin = now()
    let sum = 0
    await all(r.n, async (i) => {
      const value = await call('empty', i)
      sum += value
    })
    return { value: sum, spans: [[begin, now(), now()]] }
  },
  async load(r) {
    await all(r.n, (i) => call('mark/send', { i, port: r.k }))
  },
  async stop() {
    for (const c of children) c.kill('SIGTERM')
  },
})
