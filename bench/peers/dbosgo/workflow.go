package main

import (
	"context"
	"time"

	"github.com/dbos-inc/dbos-transact-golang/dbos"

	"github.com/millrace/millrace/bench/peers/contract"
)

// The workflows, as a user of DBOS writes them: Go functions whose steps are stored as they end.

type fiboInput struct{ N, K int }

type fiboStep struct {
	Value        int
	Began, Ended float64
}

func empty(_ dbos.Context, n int) (int, error) { return n + 1, nil }

func payload(_ dbos.Context, text string) (string, error) { return text, nil }

func steps(ctx dbos.Context, n int) (int, error) {
	for range 3 {
		var err error
		before := n
		if n, err = dbos.RunAsStep(ctx, func(context.Context) (int, error) { return before + 1, nil }, dbos.WithStepName("add one")); err != nil {
			return 0, err
		}
	}
	return n, nil
}

func fibo(ctx dbos.Context, in fiboInput) ([]fiboStep, error) {
	out := make([]fiboStep, in.N)
	for i := range out {
		var err error
		out[i], err = dbos.RunAsStep(ctx, func(context.Context) (fiboStep, error) {
			began := contract.Now()
			return fiboStep{contract.Fibo(in.K), began, contract.Now()}, nil
		}, dbos.WithStepName("fibo"))
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// fan runs the branches as workflows of their own: children that start at once, or through the queue.
func fan(ctx dbos.Context, n int) (int, error) {
	handles := make([]dbos.WorkflowHandle[int], n)
	for i := range handles {
		var err error
		if handles[i], err = dbos.RunWorkflow(ctx, empty, i, onQueue()...); err != nil {
			return 0, err
		}
	}
	sum := 0
	for _, h := range handles {
		value, err := h.GetResult(waiting())
		if err != nil {
			return 0, err
		}
		sum += value
	}
	return sum, nil
}

type markInput struct{ I, Port int }

// mark tells the driver that job i ran.
func mark(ctx dbos.Context, in markInput) (bool, error) {
	return dbos.RunAsStep(ctx, func(context.Context) (bool, error) {
		return true, contract.Tell(in.I, in.Port)
	}, dbos.WithStepName("tell"))
}

// queue is the one that workflows go through when QUEUE_POLL_MS says how often it is asked; pollEvery then is how often a result is.
var queue dbos.Queue

const pollEvery = time.Millisecond

func onQueue() []dbos.WorkflowOption {
	if queue == nil {
		return nil
	}
	return []dbos.WorkflowOption{dbos.WithQueue(queue)}
}

func waiting() dbos.GetResultOption { return dbos.WithHandlePollingInterval(pollEvery) }
