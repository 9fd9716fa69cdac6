// The tasks. Graphile Worker runs jobs and knows no flows: a step adds the next one, as its manual's tasks do.
import { fibo, now, tell } from './contract.mjs'

// tasks hands what a job computed to finish(job id, what), which tells those who wait once the job's completion is stored.
export const tasks = (finish) => ({
  empty: async ({ n }, { job }) => finish(job.id, n + 1),
  payload: async ({ text }, { job }) => finish(job.id, text),
  mark: async ({ i, port }) => tell(i, port),
  step: async (state, { job, addJob }) => {
    const began = now()
    const values = state.k > 0 ? [...state.values, fibo(state.k)] : [state.values[0] + 1]
    const spans = [...state.spans, [state.created, began, now()]]
    if (state.left === 0) return finish(job.id, { value: state.k > 0 ? values : values[0], spans })
    await addJob('step', { ...state, values, spans, left: state.left - 1, created: now() })
  },
})
