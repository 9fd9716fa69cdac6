// Graphile Worker, client and workers in one process. A result counts when the worker says that the job's completion is stored.
import { readFileSync } from 'node:fs'
import { makeWorkerUtils, run } from 'graphile-worker'
import { Count, Unsupported, Waiting, env, now, serve } from './contract.mjs'
import { tasks } from './workflow.mjs'

const waiting = new Waiting()
const results = new Map() // by job id, until its completion is stored
const counts = new Map() // by run

const completed = (job) => {
  const value = results.get(job.id)
  results.delete(job.id)
  if (value === undefined) return // a step that is not the last
  const count = counts.get(job.payload.run)
  if (count) count.add(value)
  else waiting.done(job.payload.run, value)
}

let runner, utils, next = 0

serve({
  async start() {
    const connectionString = env('DATABASE_URL')
    const concurrentJobs = Number(env('CONCURRENCY'))
    const local = Number(env('LOCAL_QUEUE', '0'))
    const worker = { connectionString, concurrentJobs, maxPoolSize: 10 + concurrentJobs }
    if (local) Object.assign(worker, { localQueue: { size: local }, completeJobBatchDelay: 0, failJobBatchDelay: 0 })
    utils = await makeWorkerUtils({ connectionString, maxPoolSize: 32 })
    await utils.migrate()
    const preset = { worker }
    runner = await run({ preset, noHandleSignals: true, logger: undefined, taskList: tasks((id, value) => results.set(id, value)) })
    runner.events.on('job:complete', ({ job, error }) => {
      if (error) console.error(error)
      completed(job)
    })
    const version = JSON.parse(readFileSync(new URL('./node_modules/graphile-worker/package.json', import.meta.url))).version
    return { version, works: ['empty', 'payload', 'steps', 'fibo', 'many', 'backlog', 'load'] }
  },
  async deploy() {},
  async one(r) {
    const id = `run-${++next}`
    const result = waiting.wait(id)
    const spec = { priority: r.urgent ? -1 : 0 }
    if (r.work === 'empty') await utils.addJob('empty', { n: r.arg, run: id }, spec)
    else if (r.work === 'payload') await utils.addJob('payload', { text: r.arg, run: id }, spec)
    else if (r.work === 'steps') await utils.addJob('step', { values: [r.arg], spans: [], k: 0, left: 2, created: now(), run: id }, spec)
    else if (r.work === 'fibo') await utils.addJob('step', { values: [], spans: [], k: r.k, left: r.n - 1, created: now(), run: id }, spec)
    else throw new Unsupported(r.work)
    return result
  },
  async many(r) {
    const id = `run-${++next}`
    const count = new Count(r.n)
    counts.set(id, count)
    const begin = now()
    await add(r.n, id)
    const enqueued = now()
    const value = await count.all
    counts.delete(id)
    return { value, spans: [[begin, enqueued, now()]] }
  },
  async backlog(r) {
    counts.set('backlog', { add() {} })
    await add(r.n, 'backlog')
  },
  async load(r) {
    const jobs = Array.from({ length: r.n }, (_, i) => ({ identifier: 'mark', payload: { i, port: r.k } }))
    await utils.addJobs(jobs)
  },
  async stop() {
    await runner.stop()
    await utils.release()
  },
})

// add uses the bulk call, in chunks.
async function add(n, id) {
  for (let from = 0; from < n; from += 10_000) {
    const jobs = []
    for (let i = from; i < Math.min(n, from + 10_000); i++) jobs.push({ identifier: 'empty', payload: { n: i, run: id }, priority: 1 })
    await utils.addJobs(jobs)
  }
}
