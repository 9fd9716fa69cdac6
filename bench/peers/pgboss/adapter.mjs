// pg-boss, client and workers in one process. It tells nobody when a job's completion is stored, so after the handler has returned
// the job's state is asked for every millisecond (one), or the whole queue's (many).
import { readFileSync } from 'node:fs'
import { PgBoss } from 'pg-boss'
import { Count, Unsupported, Waiting, env, now, serve, sleep } from './contract.mjs'
import { handlers } from './workflow.mjs'

const waiting = new Waiting()
const counts = new Map() // by run
let boss, next = 0

const finish = (job, value) => {
  const count = counts.get(job.data.run)
  if (count) return count.add(value)
  waiting.done(job.data.run, { job: job.id, value })
}

serve({
  async start() {
    const notify = env('NOTIFY') === '1'
    boss = new PgBoss({ connectionString: env('DATABASE_URL'), max: 32, useListenNotify: notify })
    boss.on('error', (e) => console.error(e))
    await boss.start()
    const list = handlers((queue, data) => boss.send(queue, data), finish)
    for (const [queue, handler] of Object.entries(list)) {
      await boss.createQueue(queue, { notify })
      const options = { batchSize: Number(env('BATCH')), pollingIntervalSeconds: Number(env('POLL_SECONDS')), priority: true }
      for (let i = 0; i < Number(env('WORKERS')); i++) await boss.work(queue, options, handler)
    }
    const version = JSON.parse(readFileSync(new URL('./node_modules/pg-boss/package.json', import.meta.url))).version
    return { version, works: ['empty', 'payload', 'steps', 'fibo', 'many', 'backlog', 'load'] }
  },
  async deploy() {},
  async one(r) {
    const run = `run-${++next}`
    const result = waiting.wait(run)
    const options = { priority: r.urgent ? 10 : 1 }
    let queue = 'step'
    if (r.work === 'empty') await boss.send((queue = 'empty'), { n: r.arg, run }, options)
    else if (r.work === 'payload') await boss.send((queue = 'payload'), { text: r.arg, run }, options)
    else if (r.work === 'steps') await boss.send('step', { values: [r.arg], spans: [], k: 0, left: 2, created: now(), run }, options)
    else if (r.work === 'fibo') await boss.send('step', { values: [], spans: [], k: r.k, left: r.n - 1, created: now(), run }, options)
    else throw new Unsupported(r.work)
    const { job, value } = await result
    while ((await boss.getJobById(queue, job)).state !== 'completed') await sleep(1)
    return value
  },
  async many(r) {
    const run = `run-${++next}`
    const count = new Count(r.n)
    counts.set(run, count)
    const begin = now()
    await insert(r.n, run)
    const enqueued = now()
    const value = await count.all
    counts.delete(run)
    while ((await boss.getQueueStats('empty')).activeCount > 0) await sleep(5)
    return { value, spans: [[begin, enqueued, now()]] }
  },
  async backlog(r) {
    counts.set('backlog', { add() {} })
    await insert(r.n, 'backlog')
  },
  async load(r) {
    await boss.insert('mark', Array.from({ length: r.n }, (_, i) => ({ data: { i, port: r.k } })))
  },
  async stop() {
    await boss.stop({ graceful: false })
  },
})

// insert uses the bulk call, in chunks.
async function insert(n, run) {
  for (let from = 0; from < n; from += 10_000) {
    const jobs = []
    for (let i = from; i < Math.min(n, from + 10_000); i++) jobs.push({ data: { n: i, run }, priority: 0 })
    await boss.insert('empty', jobs)
  }
}
