package main

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/millrace/millrace/bench/peers/contract"
)

// River runs jobs and has no notion of a flow in its free edition, so a step inserts the next one in the transaction that completes
// it, which is the way its manual shows for work that must not be lost between two jobs.

type emptyArgs struct {
	N   int    `json:"n"`
	Run string `json:"run"`
}

func (emptyArgs) Kind() string { return "empty" }

type payloadArgs struct {
	Text string `json:"text"`
	Run  string `json:"run"`
}

func (payloadArgs) Kind() string { return "payload" }

// stepArgs is a step of fibo (K > 0) or of the three that add one.
type stepArgs struct {
	Run     string       `json:"run"`
	Left    int          `json:"left"` // steps after this one
	K       int          `json:"k"`
	Values  []int        `json:"values"`
	Created float64      `json:"created"`
	Spans   [][3]float64 `json:"spans"`
}

func (stepArgs) Kind() string { return "step" }

type emptyWorker struct {
	river.WorkerDefaults[emptyArgs]
	results *results
}

func (w *emptyWorker) Work(_ context.Context, job *river.Job[emptyArgs]) error {
	w.results.put(job.ID, job.Args.Run, job.Args.N+1, nil)
	return nil
}

type payloadWorker struct {
	river.WorkerDefaults[payloadArgs]
	results *results
}

func (w *payloadWorker) Work(_ context.Context, job *river.Job[payloadArgs]) error {
	w.results.put(job.ID, job.Args.Run, job.Args.Text, nil)
	return nil
}

type markArgs struct {
	I    int `json:"i"`
	Port int `json:"port"`
}

func (markArgs) Kind() string { return "mark" }

// markWorker tells the driver that its job ran.
type markWorker struct{ river.WorkerDefaults[markArgs] }

func (*markWorker) Work(_ context.Context, job *river.Job[markArgs]) error {
	return contract.Tell(job.Args.I, job.Args.Port)
}

type stepWorker struct {
	river.WorkerDefaults[stepArgs]
	results *results
	begin   func(context.Context) (pgx.Tx, error)
}

func (w *stepWorker) Work(ctx context.Context, job *river.Job[stepArgs]) error {
	began, a := contract.Now(), job.Args
	if a.K > 0 {
		a.Values = append(a.Values, contract.Fibo(a.K))
	} else {
		a.Values[0]++
	}
	a.Spans = append(a.Spans, [3]float64{a.Created, began, contract.Now()})
	if a.Left == 0 {
		var value any = a.Values
		if a.K == 0 {
			value = a.Values[0]
		}
		w.results.put(job.ID, a.Run, value, a.Spans)
		return nil
	}
	a.Left--
	a.Created = contract.Now()
	tx, err := w.begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(ctx) }() // without effect after the commit
	if _, err := river.ClientFromContext[pgx.Tx](ctx).InsertTx(ctx, tx, a, nil); err != nil {
		return err
	}
	if _, err := river.JobCompleteTx[*riverpgxv5.Driver](ctx, tx, job); err != nil {
		return err
	}
	return tx.Commit(ctx)
}
