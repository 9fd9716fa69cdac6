package mock

import (
	"encoding/json"
	"fmt"
	"maps"
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
	r := frame.NewReader(t.Conn)
	q, err := frame.ReadRequest(r)
	if err != nil {
		return 1
	}
	if q.Share {
		return t.share(r, q)
	}
	t.env = q.Env.Map()
	if q.Learn {
		if t.answer(frame.Modules, imported(string(q.Source))) != 0 {
			return 1
		}
	}
	return t.run(q)
}

// run runs a source once.
func (t *Task) run(q frame.Request) int {
	for _, c := range commands(string(q.Source)) {
		if done, status := t.command(c, q); done {
			return status
		}
	}
	return t.answer(frame.Result, "null")
}

// share runs a source for every call until there are no more, or until a run ends without an answer.
func (t *Task) share(r *frame.Reader, q frame.Request) int {
	// Read apart from the run: a socket would hold what is sent meanwhile.
	type asks struct {
		frame.Run
		env map[string]string
	}
	asked := make(chan asks, 64)
	go func() {
		defer close(asked)
		env := map[string]string{}
		for {
			run, err := frame.ReadRun(r, env)
			if err != nil {
				return
			}
			asked <- asks{run, maps.Clone(env)}
		}
	}()
	for run := range asked {
		t.runs++
		t.number, q.Args, t.env = run.Number, run.Args, run.env
		if status := t.run(q); t.number != 0 {
			return status // it ended itself
		}
		if t.leaves {
			return t.answer(frame.Leave, "")
		}
	}
	return 0
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
	case "runs":
		return true, t.answer(frame.Result, strconv.Itoa(t.runs))
	case "slot":
		at, _ := json.Marshal(t.Template.Tenant + ":" + strings.Join(t.Template.Zygote, " ")) // a string always encodes
		return true, t.answer(frame.Result, string(at))
	case "forge":
		t.number, _ = strconv.ParseUint(c.rest, 10, 64) // 0 is nobody's number
		return true, t.answer(frame.Result, "1")
	case "leave":
		t.leaves = true
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
	case "do":
		var args map[string]string
		if err := json.Unmarshal(q.Args, &args); err != nil {
			return true, t.fail(&runtimes.Failure{Name: "ArgumentError", Message: err.Error()})
		}
		for _, inner := range commands(args[c.rest]) {
			if done, status := t.command(inner, q); done {
				return true, status
			}
		}
	case "arg":
		var args map[string]json.RawMessage
		if err := json.Unmarshal(q.Args, &args); err != nil || args[c.rest] == nil {
			return true, t.fail(&runtimes.Failure{Name: "ArgumentError", Message: c.rest + ": missing"})
		}
		return true, t.answer(frame.Result, string(args[c.rest]))
	case "env":
		value, _ := json.Marshal(t.env[c.rest]) // a string always encodes
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
	return t.send(kind, frame.Append(nil, kind, payload))
}

func (t *Task) fail(f *runtimes.Failure) int {
	return t.send(frame.Failure, frame.AppendFailure(nil, f))
}

// send writes a frame, in a shared process with the number of its run.
func (t *Task) send(kind frame.Type, data []byte) int {
	if ends := kind == frame.Result || kind == frame.Failure; ends && t.number != 0 {
		data = append(frame.AppendNumber(nil, t.number), data...)
		t.number = 0
	}
	if _, err := t.Conn.Write(data); err != nil {
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
