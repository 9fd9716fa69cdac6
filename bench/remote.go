package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// remoteTag is taken by the second daemon only.
const remoteTag = "bench-far"

// remote measures the way from one process to another through the database: of the queue alone, and of two whole daemons
// where the one that is asked does not take what the other runs.
func remote(ctx context.Context, b *bench) error {
	if err := b.figures(ctx, nil, "^BenchmarkRemote$", "2000x"); err != nil {
		return err
	}
	if b.own == nil {
		return errors.New("a second daemon needs the database of a daemon of our own; leave --server out")
	}
	url, err := privateDatabase(b.data)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(filepath.Dir(b.data), "far-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // a leftover lies in a folder that git ignores
	if err := errors.Join(os.Chmod(dir, 0o755), giveToCaller(dir)); err != nil {
		return err
	}
	far, err := b.launch(ctx, dir, "--database-url", url, "--tags", remoteTag)
	if far != nil {
		defer func() { _ = far.stop() }() // it has done its part
	}
	if err != nil {
		return err
	}
	return b.toFar()
}

// privateDatabase is the address of the database that the daemon of a data folder runs for itself.
func privateDatabase(data string) (string, error) {
	text, err := os.ReadFile(filepath.Join(data, "postgres", "data", "postmaster.pid"))
	if err != nil {
		return "", fmt.Errorf("address of the database: %w", err)
	}
	lines := strings.Split(string(text), "\n") // pid, folder, start, port, folder of the socket
	if len(lines) < 5 {
		return "", fmt.Errorf("address of the database: postmaster.pid has %d lines", len(lines))
	}
	return fmt.Sprintf("host='%s' port=%s user=millrace dbname=postgres sslmode=disable", strings.ReplaceAll(lines[4], "'", `\'`), lines[3]), nil
}

// toFar asks the own daemon for jobs that only the other one takes.
func (b *bench) toFar() error {
	query := "?tag=" + remoteTag
	do := func(c *conn, _ int) error { return waitNoop(c, b.path("jobs/run_wait_result/noop")+query) }
	if _, err := closedLoop(b.server, min(warmUp, b.n), do); err != nil {
		return fmt.Errorf("warm-up: %w", err)
	}
	got, err := closedLoop(b.server, b.n, do)
	if err != nil {
		return err
	}
	b.report.latency("remote_http_result", got)
	c, err := b.server.dial()
	if err != nil {
		return err
	}
	defer c.close()
	var starts sample
	for range min(b.n, remoteStarts) {
		took, err := b.startOf(c, b.path("jobs/run/noop")+query)
		if err != nil {
			return err
		}
		starts = append(starts, took)
	}
	b.report.latency("remote_http_start", starts)
	return nil
}

// remoteStarts is how many jobs are looked at one by one.
const remoteStarts = 500

// startOf runs a job and reads from its record how long after it was asked for it was claimed.
func (b *bench) startOf(c *conn, path string) (time.Duration, error) {
	status, answer, err := c.do("POST", path, "{}")
	if err != nil || status != 201 {
		return 0, fmt.Errorf("run: status %d %.300s %w", status, answer, err)
	}
	record := b.path("jobs_u/get/" + strings.TrimSpace(string(answer)) + "?no_logs=true")
	for until := time.Now().Add(answerLimit); time.Now().Before(until); {
		status, answer, err := c.do("GET", record, "")
		if err != nil || status != 200 {
			return 0, fmt.Errorf("get: status %d %.300s %w", status, answer, err)
		}
		var j struct {
			Created time.Time  `json:"created_at"`
			Started *time.Time `json:"started_at"`
		}
		if err := json.Unmarshal(answer, &j); err != nil {
			return 0, err
		}
		if j.Started != nil {
			return j.Started.Sub(j.Created), nil
		}
	}
	return 0, errors.New("a job was not started")
}
