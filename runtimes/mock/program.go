package mock

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/runtimes/frame"
)

// The programs that the language's launches and recipes name.
const (
	jobProgram     = "mock"
	resolveProgram = "mock-resolve"
	installProgram = "mock-install"
)

// Programs are what an Isolator runs when it is not told otherwise, by Argv[0].
func Programs() map[string]Program {
	return map[string]Program{jobProgram: job, resolveProgram: resolve, installProgram: install}
}

// job speaks the frame protocol and runs a source.
func job(t *Task) int {
	if len(t.Spec.Argv) > 1 && t.Spec.Argv[1] == "--warm" {
		if _, err := t.Conn.Write(frame.Append(nil, frame.Ready, "")); err != nil {
			return 1
		}
	}
	q, err := frame.ReadRequest(frame.NewReader(t.Conn))
	if err != nil {
		return 1
	}
	for _, c := range commands(string(q.Source)) {
		if done, status := t.command(c, q); done {
			return status
		}
	}
	return t.answer(frame.Result, "null")
}

// command runs c and says whether the program ends with it, and how.
func (t *Task) command(c command, q frame.Request) (done bool, status int) {
	if err := c.check(); err != nil {
		return true, t.fail(&runtimes.Failure{Name: "SyntaxError", Message: err.Error()})
	}
	switch c.verb {
	case "sleep":
		d, _ := time.ParseDuration(c.rest) // checked
		return !t.sleep(d), 0
	case "hang":
		<-t.Killed
		return true, 0
	case "log":
		fmt.Fprintln(t.Output, c.rest)
	case "spam":
		n, _ := strconv.Atoi(c.rest) // checked
		for line := strings.Repeat("x", 1023) + "\n"; n > 0; n -= len(line) {
			if _, err := t.Output.Write([]byte(line[:min(n, len(line))])); err != nil {
				return true, 1
			}
		}
	case "stream":
		return t.answer(frame.Chunk, c.rest) != 0, 1
	case "return":
		return true, t.answer(frame.Result, c.rest)
	case "args":
		return true, t.answer(frame.Result, string(q.Args))
	case "arg":
		var args map[string]json.RawMessage
		if err := json.Unmarshal(q.Args, &args); err != nil || args[c.rest] == nil {
			return true, t.fail(&runtimes.Failure{Name: "ArgumentError", Message: c.rest + ": missing"})
		}
		return true, t.answer(frame.Result, string(args[c.rest]))
	case "env":
		value, _ := json.Marshal(q.Env[c.rest]) // a string always encodes
		return true, t.answer(frame.Result, string(value))
	case "fail":
		name, message, _ := strings.Cut(c.rest, " ")
		if text, err := strconv.Unquote(message); err == nil {
			message = text
		}
		return true, t.fail(&runtimes.Failure{Name: name, Message: message, Stack: fmt.Sprintf("%s:%d", q.Path, c.line)})
	case "exit":
		n, _ := strconv.Atoi(c.rest) // checked
		return true, n
	case "oom":
		t.OOM()
		return true, 137
	case "break":
		t.Break()
		return true, 1
	case "library":
		return true, t.fail(&runtimes.Failure{Name: "NoMain", Message: "the source has no main"})
	}
	return false, 0
}

func (t *Task) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-t.Killed:
		return false
	}
}

func (t *Task) answer(kind frame.Type, payload string) int {
	if _, err := t.Conn.Write(frame.Append(nil, kind, payload)); err != nil {
		return 1
	}
	return 0
}

func (t *Task) fail(f *runtimes.Failure) int {
	if _, err := t.Conn.Write(frame.AppendFailure(nil, f)); err != nil {
		return 1
	}
	return 0
}

// resolve pins its arguments.
func resolve(t *Task) int {
	var lock strings.Builder
	for _, name := range t.Spec.Argv[1:] {
		if name == "missing" {
			fmt.Fprintln(t.Output, "no such package: "+name)
			return 1
		}
		fmt.Fprintln(&lock, name+"==1")
	}
	fmt.Fprint(t.Output, lock.String())
	return t.leave("lock", lock.String())
}

func install(t *Task) int {
	fmt.Fprint(t.Output, t.Spec.Argv[1])
	return t.leave("installed", t.Spec.Argv[1])
}

// leave writes a file into /out.
func (t *Task) leave(name, text string) int {
	if err := os.WriteFile(filepath.Join(t.Host("/out"), name), []byte(text), 0o644); err != nil {
		fmt.Fprintln(t.Output, err)
		return 1
	}
	return 0
}
