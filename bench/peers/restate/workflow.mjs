// The service, as a user of Restate writes it: handlers whose steps are entries of a journal. It runs as a program of its own.
import * as restate from '@restatedev/restate-sdk'
import { fibo, now, tell } from './contract.mjs'

const bench = restate.service({
  name: 'bench',
  handlers: {
    empty: async (ctx, n) => n + 1,
    payload: async (ctx, text) => text,
    steps: async (ctx, n) => {
      for (const name of ['a', 'b', 'c']) {
        const before = n
        n = await ctx.run(name, () => before + 1)
      }
      return n
    },
    fibo: async (ctx, { n, k }) => {
      const values = []
      const times = []
      for (let i = 0; i < n; i++) {
        const [value, began, ended] = await ctx.run(`fibo ${i}`, () => {
          const began = now()
          return [fibo(k), began, now()]
        })
        values.push(value)
        times.push([began, ended])
      }
      return { values, times }
    },
    fan: async (ctx, n) => {
      const calls = []
      for (let i = 0; i < n; i++) calls.push(ctx.serviceClient({ name: 'bench' }).empty(i))
      const numbers = await restate.RestatePromise.all(calls)
      return numbers.reduce((a, b) => a + b, 0)
    },
    mark: async (ctx, { i, port }) => {
      await ctx.run('tell', () => tell(i, port))
    },
  },
})

await restate.endpoint().bind(bench).listen(Number(process.argv[2]))
