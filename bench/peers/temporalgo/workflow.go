package main

import (
	"context"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/millrace/millrace/bench/peers/contract"
)

// The workflows and activities, as a user of Temporal writes them.

const (
	branches  = 500 // of one workflow: the server allows 2,000 activities that wait, so a larger fan-out has child workflows
	stepLimit = time.Minute
)

// local is whether activities run where the workflow does and are stored with its next task.
var local = contract.Env("LOCAL", "") == "1"

type fiboResult struct {
	Value        int
	Began, Ended float64
}

func addOne(_ context.Context, n int) (int, error) { return n + 1, nil }

func fiboStep(_ context.Context, k int) (fiboResult, error) {
	began := contract.Now()
	return fiboResult{contract.Fibo(k), began, contract.Now()}, nil
}

func tell(_ context.Context, i, port int) error {
	return contract.Tell(i, port)
}

func step(ctx workflow.Context, activity any, args ...any) workflow.Future {
	if local {
		ctx = workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{StartToCloseTimeout: stepLimit})
		return workflow.ExecuteLocalActivity(ctx, activity, args...)
	}
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: stepLimit})
	return workflow.ExecuteActivity(ctx, activity, args...)
}

func empty(_ workflow.Context, n int) (int, error) { return n + 1, nil }

func payload(_ workflow.Context, text string) (string, error) { return text, nil }

func steps(ctx workflow.Context, n int) (int, error) {
	for range 3 {
		if err := step(ctx, addOne, n).Get(ctx, &n); err != nil {
			return 0, err
		}
	}
	return n, nil
}

func fibo(ctx workflow.Context, n, k int) ([]fiboResult, error) {
	out := make([]fiboResult, n)
	for i := range out {
		if err := step(ctx, fiboStep, k).Get(ctx, &out[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func fan(ctx workflow.Context, first, n int) (int, error) {
	var futures []workflow.Future
	if n <= branches {
		for i := range n {
			futures = append(futures, step(ctx, addOne, first+i))
		}
	} else {
		for i := 0; i < n; i += branches {
			futures = append(futures, workflow.ExecuteChildWorkflow(ctx, fan, first+i, min(branches, n-i)))
		}
	}
	sum := 0
	for _, f := range futures {
		var part int
		if err := f.Get(ctx, &part); err != nil {
			return 0, err
		}
		sum += part
	}
	return sum, nil
}

func mark(ctx workflow.Context, i, port int) error { return step(ctx, tell, i, port).Get(ctx, nil) }
