// Package push deploys a script or a flow and stays with it until its dependencies are settled: resolving them is a job of the
// daemon, whose log is shown while it runs.
package push

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/web/client"
)

// lookAgain is how long to wait between two looks at a script whose dependency job is not there yet or has just ended.
const lookAgain = 20 * time.Millisecond

// patience bounds those looks; a dependency job that runs is waited for as long as it takes.
const patience = 30 * time.Second

// Script deploys s and returns its hash when it can run. Logs of the dependency job are written to logs as they come.
func Script(ctx context.Context, c *client.Client, s client.NewScript, logs io.Writer) (hash string, err error) {
	hash, err = c.CreateScript(ctx, s, true)
	if err != nil {
		return "", fmt.Errorf("deploy %s: %w", s.Path, err)
	}
	followed := false
	for limit := time.Now().Add(patience); ; {
		version, err := c.ScriptByHash(ctx, hash)
		switch {
		case err != nil:
			return "", fmt.Errorf("look at %s: %w", s.Path, err)
		case version.LockErrorLogs != "":
			return "", fmt.Errorf("%s is deployed as %s but its dependencies could not be resolved:\n%s", s.Path, hash, strings.TrimSpace(version.LockErrorLogs))
		case version.Lock != nil:
			if !followed { // nothing to resolve, but perhaps something to compile
				_, err = follow(ctx, c, wanted{path: s.Path, hash: hash, running: true}, logs)
			}
			return hash, err
		case time.Now().After(limit):
			return "", fmt.Errorf("%s is deployed as %s but its dependencies are not settled; see: millrace job list --path %s", s.Path, hash, s.Path)
		}
		if !followed {
			followed, err = follow(ctx, c, wanted{path: s.Path, hash: hash}, logs)
			if err != nil {
				return "", err
			}
			if followed {
				limit = time.Now().Add(patience)
				continue
			}
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(lookAgain):
		}
	}
}

// Flow deploys a version of a flow and returns when it can run. Logs of the dependency job are written to logs as they come.
func Flow(ctx context.Context, c *client.Client, path string, body json.RawMessage, logs io.Writer) (*client.FlowDeployed, error) {
	done, err := c.DeployFlow(ctx, path, body, true)
	if err != nil {
		return nil, fmt.Errorf("deploy %s: %w", path, err)
	}
	version := fmt.Sprintf("%016x", done.Version) // as jobs name it
	if _, err := follow(ctx, c, wanted{kind: "flowdependencies", path: path, hash: version, as: fmt.Sprintf("version %d", done.Version), running: !done.Created}, logs); err != nil {
		return nil, err
	}
	return done, nil
}

// wanted is a dependency job to look for: that of a version, or only while it is not over.
type wanted struct {
	kind       string // "": of a script
	path, hash string
	as         string // what people call it; "": hash
	running    bool
}

// follow shows the log of the dependency job of a version until it ends; false when there is no such job yet.
func follow(ctx context.Context, c *client.Client, w wanted, logs io.Writer) (bool, error) {
	path, hash, kind, as := w.path, w.hash, w.kind, w.as
	if kind == "" {
		kind, as = "dependencies", hash
	}
	jobs, err := c.Jobs(ctx, url.Values{"job_kinds": {kind}, "script_path_exact": {path}, "per_page": {"10"}})
	if err != nil {
		return false, fmt.Errorf("look for the dependency job of %s: %w", path, err)
	}
	for _, j := range jobs {
		if j.ScriptHash != hash || (w.running && j.Success != nil) {
			continue
		}
		end, err := Follow(ctx, c, j.ID, logs)
		if err != nil {
			return false, fmt.Errorf("dependency job of %s: %w", path, err)
		}
		if end.Success == nil || !*end.Success {
			return false, fmt.Errorf("%s is deployed as %s but its dependencies could not be resolved: %w", path, as, Failure(end))
		}
		return true, nil
	}
	return false, nil
}

// Follow writes the log of a job and its result stream as they come, and returns the job when it has ended.
func Follow(ctx context.Context, c *client.Client, id uuid.UUID, logs io.Writer) (*client.Job, error) {
	return c.Follow(ctx, id, func(u client.Update) error {
		if _, err := io.WriteString(logs, u.NewLogs+u.NewResultStream); err != nil {
			return fmt.Errorf("show the log: %w", err)
		}
		return nil
	})
}

// Failure is the error that a job ended with: its name and message, and the stack below when there is one.
func Failure(j *client.Job) error {
	if j.Canceled {
		why := "canceled"
		if j.CanceledBy != "" {
			why += " by " + j.CanceledBy
		}
		if j.CanceledReason != "" {
			why += ": " + j.CanceledReason
		}
		return errors.New(why)
	}
	var result struct {
		Error struct{ Name, Message, Stack string }
	}
	if j.Result == nil || json.Unmarshal(*j.Result, &result) != nil || result.Error.Message == "" {
		return errors.New("the job failed without saying why; its log may tell: millrace job logs " + j.ID.String())
	}
	text := result.Error.Message
	if result.Error.Name != "" {
		text = result.Error.Name + ": " + text
	}
	if stack := strings.TrimSpace(result.Error.Stack); stack != "" {
		text += "\n" + stack
	}
	return errors.New(text)
}
