// The handlers. pg-boss runs jobs; a step sends the next one.
import { fibo, now, tell } from './contract.mjs'

// handlers take batches, as pg-boss hands them out; finish(job, value) tells what one computed.
export const handlers = (send, finish) => ({
  empty: async (jobs) => jobs.forEach((job) => finish(job, job.data.n + 1)),
  payload: async (jobs) => jobs.forEach((job) => finish(job, job.data.text)),
  mark: async (jobs) => {
    for (const { data } of jobs) await tell(data.i, data.port)
  },
  step: async (jobs) => {
    for (const job of jobs) {
      const began = now()
      const state = job.data
      const values = state.k > 0 ? [...state.values, fibo(state.k)] : [state.values[0] + 1]
      const spans = [...state.spans, [state.created, began, now()]]
      if (state.left === 0) finish(job, { value: state.k > 0 ? values : values[0], spans })
      else await send('step', { ...state, values, spans, left: state.left - 1, created: now() })
    }
  },
})
