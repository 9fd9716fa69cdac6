// Package job runs inside the slot: it is compiled into every Go script and speaks frames on descriptor 3 (runtimes/frame has
// the protocol). Standard library only; its import path there is millrace.job/job.
package job

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"reflect"
	"runtime"
	"strings"
	"syscall"
)

// userPackage is the import path under which a script is compiled.
const userPackage = "millrace.job/inner"

var conn = os.NewFile(3, "server")

// request is read before the packages that depend on this one are initialised, which the script's is: its package variables
// see the call's environment.
var request = receive()

// Args are the arguments of the call by name.
type Args map[string]json.RawMessage

// Arg decodes one argument into p. What is not given keeps its zero value unless it is required.
func Arg[T any](a Args, name string, required bool, p *T) error {
	raw, ok := a[name]
	switch {
	case !ok && required:
		return &argumentError{fmt.Sprintf("%s: missing, want %T", name, *p)}
	case !ok:
		return nil
	}
	if err := json.Unmarshal(raw, p); err != nil {
		return &argumentError{name + ": " + strings.TrimPrefix(err.Error(), "json: ")}
	}
	return nil
}

type argumentError struct{ text string }

func (e *argumentError) Error() string { return e.text }

// Run calls the script and reports what came of it. It does not return.
func Run(call func(Args) (any, error)) {
	var args Args
	if err := json.Unmarshal(request, &args); err != nil {
		fail("ArgumentError", "the arguments are not a JSON object", "")
	}
	defer func() {
		if p := recover(); p != nil {
			fail("Panic", fmt.Sprint(p), stack())
		}
	}()
	result, err := call(args)
	if err != nil {
		fail(nameOf(err), err.Error(), "")
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(result); err != nil {
		fail("InvalidResult", "the result cannot be written as JSON: "+strings.TrimPrefix(err.Error(), "json: "), "")
	}
	send('R', bytes.TrimSuffix(b.Bytes(), []byte("\n")))
	os.Exit(0)
}

// Stream sends what seq yields as the result stream; the result is all of it.
func Stream(seq func(func(string) bool)) string {
	var all strings.Builder
	seq(func(s string) bool {
		send('T', []byte(s))
		all.WriteString(s)
		return true
	})
	return all.String()
}

// StreamChan does the same for a channel.
func StreamChan(c <-chan string) string {
	return Stream(func(yield func(string) bool) {
		for s := range c {
			yield(s)
		}
	})
}

func receive() []byte {
	syscall.CloseOnExec(3)
	defer useAll()
	in := bufio.NewReader(conn)
	for {
		var head [5]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			broken(err)
		}
		payload := make([]byte, binary.LittleEndian.Uint32(head[1:]))
		if _, err := io.ReadFull(in, payload); err != nil {
			broken(err)
		}
		switch head[0] {
		case 'A':
			return payload
		case 'V':
			for len(payload) > 0 { // name=value and a zero byte for each variable
				entry, rest, _ := bytes.Cut(payload, []byte{0})
				payload = rest
				name, value, _ := bytes.Cut(entry, []byte{'='})
				if err := os.Setenv(string(name), string(value)); err != nil {
					broken(err)
				}
			}
		}
	}
}

// useAll lets the script use every processor. A process that begins with one starts fewer threads until here, and does not look for
// control groups, of which it sees none.
func useAll() {
	if os.Getenv("GOMAXPROCS") == "" {
		return
	}
	if err := os.Unsetenv("GOMAXPROCS"); err != nil { // it is not for the script's own children
		broken(err)
	}
	runtime.GOMAXPROCS(runtime.NumCPU())
}

func broken(err error) {
	fmt.Fprintln(os.Stderr, "read the request:", err)
	os.Exit(1)
}

func send(kind byte, payload []byte) {
	b := append(make([]byte, 0, 5+len(payload)), kind)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(payload)))
	if _, err := conn.Write(append(b, payload...)); err != nil {
		fmt.Fprintln(os.Stderr, "send to the server:", err)
		os.Exit(1)
	}
}

func fail(name, message, stack string) {
	b, _ := json.Marshal(map[string]string{"name": name, "message": message, "stack": stack}) // strings always encode
	send('E', b)
	os.Exit(1)
}

// nameOf is the error's type if the script or a library made one of its own, else Error.
func nameOf(err error) string {
	if _, ok := err.(*argumentError); ok {
		return "ArgumentError"
	}
	t := reflect.TypeOf(err)
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if pkg := t.PkgPath(); t.Name() == "" || pkg == "errors" || pkg == "fmt" {
		return "Error"
	}
	return t.Name()
}

// stack is that of the panic, the script's own frames only.
func stack() string {
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs)])
	var b strings.Builder
	for {
		f, more := frames.Next()
		if name, ok := strings.CutPrefix(f.Function, userPackage+"."); ok && !strings.HasPrefix(name, "MillraceRun") {
			fmt.Fprintf(&b, "%s\n\tmain.go:%d\n", name, f.Line)
		}
		if !more {
			return b.String()
		}
	}
}
