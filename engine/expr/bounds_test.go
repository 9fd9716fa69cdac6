package expr

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// hostile are expressions that never end or take all there is. An engine inside of a Go program can stop only the first few.
var hostile = []struct {
	expr    string
	reasons []Reason
}{
	{`for (;;) {}`, []Reason{TooLong}},
	{`let n = 0; while (true) n++`, []Reason{TooLong}},
	{`[1].map(function f(x) { for (;;) {} })`, []Reason{TooLong}},
	{`await (async () => { for (;;) await 1 })()`, []Reason{TooLong, TooMuch}},
	{`const a = []; for (;;) a.push(new Array(1000).fill(7))`, []Reason{TooMuch, TooLong}},
	{`let s = "x"; for (;;) s += s`, []Reason{TooMuch, Thrown, TooLong}},
	{`const m = new Map(); for (let i = 0; ; i++) m.set(i, "value " + i)`, []Reason{TooMuch, TooLong}},
	// One call that does not come back.
	{`[].indexOf.call({length: 2 ** 53 - 1}, 1)`, []Reason{TooLong}},
	{`Array.prototype.fill.call({length: 2 ** 53 - 1}, 1)`, []Reason{TooLong, TooMuch}},
	{`({includes: [].includes, length: 2 ** 53 - 1}).includes(1)`, []Reason{TooLong}},
	{`"x".repeat(2 ** 31)`, []Reason{TooMuch, Thrown}},
	{`"x".padEnd(2 ** 32)`, []Reason{TooMuch, Thrown}},
	{`new ArrayBuffer(2 ** 40)`, []Reason{TooMuch, Thrown}},
	{`new Uint8Array(2 ** 33).length`, []Reason{TooMuch, Thrown}},
	{`let a = 3n; for (;;) a = a * a`, []Reason{TooLong, TooMuch, Thrown}},
	{`let a = [1]; for (let i = 0; i < 60; i++) a = [a, a]; JSON.stringify(a)`, []Reason{TooLong, TooMuch}},
	{`let a = [1]; for (let i = 0; i < 60; i++) a = [a, a]; a`, []Reason{TooLong, TooMuch}},
	{`let a = [1]; for (let i = 0; i < 60; i++) a = [a, a]; "" + a`, []Reason{TooLong, TooMuch}},
	{`let a = []; for (let i = 0; i < 3e6; i++) a = [a]; JSON.stringify(a)`, []Reason{TooMuch, Thrown, TooLong}},
	{`let a = []; for (let i = 0; i < 1e6; i++) a = [a]; a.flat(Infinity)`, []Reason{TooMuch, Thrown, TooLong}},
	{`/^(a+)+(?=b)$/.test("a".repeat(40))`, []Reason{TooLong}},
	{`/(?=(a+))\1\1\1+$/.test("a".repeat(50000) + "b")`, []Reason{TooLong, TooMuch}},
	{`new Function("for (;;) {}")()`, []Reason{TooLong}},
	{`eval("for (;;) {}")`, []Reason{TooLong}},
	{`({toString() { for (;;) {} }}) + ""`, []Reason{TooLong}},
	{`throw {get message() { for (;;) {} }}`, []Reason{TooLong, Thrown}},
}

// TestHostile runs them all at once against two helpers: each ends with a clear error, and what is asked afterwards is answered.
func TestHostile(t *testing.T) {
	if !bounded {
		t.Skip("a helper with the race detector cannot limit its memory")
	}
	e := New(Config{Helper: helperCommand(), Timeout: 300 * time.Millisecond, Memory: 32 << 20})
	t.Cleanup(e.Close)
	var wg sync.WaitGroup
	for _, c := range hostile {
		if p, err := Compile(c.expr); err != nil || p.Tame() {
			t.Errorf("%s: compiled with %v, is tame", c.expr, err)
			continue
		}
		wg.Go(func() {
			got, err := e.Eval(context.Background(), c.expr, Values{})
			var bad *Error
			if !errors.As(err, &bad) {
				t.Errorf("%s: %.100s, error %v, want an *Error", c.expr, got, err)
				return
			}
			for _, r := range c.reasons {
				if bad.Reason == r {
					return
				}
			}
			t.Errorf("%s: %s: %.300s, want one of %s", c.expr, bad.Reason, bad.Msg, c.reasons)
		})
	}
	wg.Wait()
	for i := range 10 {
		if got, err := e.Eval(context.Background(), fmt.Sprintf("let a = %d; a + 1", i), Values{}); err != nil || string(got) != fmt.Sprint(i+1) {
			t.Errorf("afterwards: %s, %v", got, err)
		}
	}
}

// TestOrphan leaves a helper alone with an expression that no interrupt reaches: it ends itself.
func TestOrphan(t *testing.T) {
	h, err := startHelper(helperCommand())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.kill)
	r := request{Source: `[].indexOf.call({length: 2 ** 53 - 1}, 1)`, Millis: 10, Memory: 1 << 20}
	if err := h.sendJSON(frameRun, &r); err != nil {
		t.Fatal(err)
	}
	select {
	case <-h.ended:
	case <-time.After(time.Minute):
		t.Error("the helper still runs")
	}
}

// TestDeep compiles, and runs where it is tame, what nests as deep as a source allows without brackets.
func TestDeep(t *testing.T) {
	e := New(Config{Helper: helperCommand()})
	t.Cleanup(e.Close)
	for _, part := range []string{"!", "- ", "~", "typeof ", "void ", "a=>", "async a=>", "1?", "1?2:", "1+", "1**", "1,", "flow_input.", "flow_input?.", "new ", "await ",
		"a=", "if(1)", "if(1);else ", "do ", "a:", "a\n", "'x'+", "[0][", "a||", "a??", "for(;;)", "throw ", "return ", "class A extends ", "...", "yield ", "`", "/"} {
		for _, n := range []int{700, maxSource} {
			source := strings.Repeat(part, min(n, (maxSource-10)/len(part))) + "1"
			p, err := Compile(source)
			if err != nil || !p.Tame() {
				continue // what matters is that it came back
			}
			if _, err := e.Run(context.Background(), p, scope()); err != nil {
				var bad *Error
				if !errors.As(err, &bad) {
					t.Errorf("%s...: %v", part, err)
				}
			}
		}
	}
}

// TestMemory has time enough to run out of memory, slowly and at once.
func TestMemory(t *testing.T) {
	if !bounded {
		t.Skip("a helper with the race detector cannot limit its memory")
	}
	e := New(Config{Helper: helperCommand(), Memory: 16 << 20})
	t.Cleanup(e.Close)
	for _, expr := range []string{
		`const a = []; for (;;) a.push(new Array(1000).fill(7))`,
		`let n = "x".repeat(1e6).split(""); for (;;) n = n.concat(n)`,
		`new Array(2e9).fill(1).length; "x".repeat(1e9).length`,
		`"x".repeat(60e6)`,
	} {
		_, err := e.Eval(context.Background(), expr, Values{})
		var bad *Error
		if !errors.As(err, &bad) || bad.Reason != TooMuch && bad.Reason != Thrown {
			t.Errorf("%s: %v, want too much", expr, err)
		}
	}
}

// TestNothingIsLeftBehind has expressions change everything that they can reach; others see none of it.
func TestNothingIsLeftBehind(t *testing.T) {
	for name, cfg := range map[string]Config{"here": {}, "apart": {Helper: helperCommand(), Helpers: 1}} {
		e := New(cfg)
		t.Cleanup(e.Close)
		for _, expr := range []string{
			`Object.prototype.evil = 1; Array.prototype.map = () => "evil"; JSON.stringify = () => '"evil"'; globalThis.evil = 1; evil2 = 2; String = 3; 1`,
			`Object.prototype.toJSON = function() { return "evil" }; 1`,
			`Object.freeze(Array.prototype); results.list.push = 1; flow_input.x = 99; 1`,
		} {
			if _, err := e.Eval(context.Background(), expr, scope()); err != nil {
				t.Errorf("%s: %s: %v", name, expr, err)
			}
		}
		for expr, want := range map[string]string{
			`[typeof evil, typeof evil2, ({}).evil, String(1)]`:             `["undefined","undefined",null,"1"]`,
			`flow_input.list.map(x => x.n)`:                                 `[1,2]`,
			`flow_input.x + 0`:                                              `5`,
			`let a = []; a.push(flow_input.x); [a, typeof evil, {a: {}}.a]`: `[[5],"undefined",{}]`,
		} {
			if got, err := e.Eval(context.Background(), expr, scope()); err != nil || string(got) != want {
				t.Errorf("%s: afterwards %s is %s, %v, want %s", name, expr, got, err, want)
			}
		}
	}
}

// TestNoHost finds nothing of the machine in the engine.
func TestNoHost(t *testing.T) {
	e := New(Config{Helper: helperCommand()})
	t.Cleanup(e.Close)
	expr := `["process", "require", "Deno", "Bun", "fetch", "XMLHttpRequest", "WebSocket", "setTimeout", "console", "module", "import", "os", "std"]
		.filter(n => globalThis[n] !== undefined).join()`
	if got, err := e.Eval(context.Background(), expr, Values{}); err != nil || string(got) != `""` {
		t.Errorf("found %s, %v", got, err)
	}
	if got, err := e.Eval(context.Background(), `import("fs")`, Values{}); err == nil {
		t.Errorf("imported %s", got)
	}
	// A comment that makes other programs read a file.
	if _, err := Compile("1 + 1\n//# sourceMappingURL=/nowhere/at/all"); err != nil {
		t.Errorf("a source map was looked for: %v", err)
	}
}

func TestCancel(t *testing.T) {
	for name, cfg := range map[string]Config{"here": {}, "apart": {Helper: helperCommand()}} {
		e := New(cfg)
		t.Cleanup(e.Close)
		ctx, cancel := context.WithCancel(context.Background())
		started := make(chan struct{})
		done := make(chan error, 1)
		go func() {
			_, err := e.Eval(ctx, `variable("go"); for (;;) {}`, signaling{started})
			done <- err
		}()
		select {
		case <-started:
		case err := <-done:
			t.Fatalf("%s: ended before it was canceled: %v", name, err)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want canceled", name, err)
		}
	}
}

// signaling says when it is asked.
type signaling struct{ asked chan struct{} }

func (s signaling) Fetch(context.Context, Ref) (json.RawMessage, error) {
	close(s.asked)
	return nil, nil
}

func TestClose(t *testing.T) {
	e := New(Config{Helper: helperCommand()})
	started := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		_, err := e.Eval(context.Background(), `variable("go"); for (;;) {}`, signaling{started})
		done <- err
	}()
	select {
	case <-started:
	case err := <-done:
		t.Fatalf("ended before it was closed: %v", err)
	}
	e.Close()
	e.Close()
	if err := <-done; err == nil {
		t.Error("an expression survived its evaluator")
	}
	if _, err := e.Eval(context.Background(), `for (;;) {}`, Values{}); err == nil || !strings.Contains(err.Error(), "stopping") {
		t.Errorf("after Close: %v", err)
	}
	broken := New(Config{Helper: []string{"/nowhere/at/all"}})
	if _, err := broken.Eval(context.Background(), `for (;;) {}`, Values{}); err == nil || !strings.Contains(err.Error(), "start the expression helper") {
		t.Errorf("without a helper: %v", err)
	}
}

// TestBigResults reads a little of a lot: what is not named is neither decoded nor copied.
func TestBigResults(t *testing.T) {
	big := []byte(`{"log": "`)
	big = append(big, strings.Repeat("x", 50<<20)...)
	big = append(big, `", "n": 1, "list": [1, 2, 3]}`...)
	in := Values{{Name: Results, Key: "a"}: big}
	e := New(Config{Helper: helperCommand()})
	t.Cleanup(e.Close)
	for expr, want := range map[string]string{`results.a.n`: `1`, `results.a.n + results.a.list.length`: `4`, `1 + 1`: `2`,
		`let n = 0; for (const i of results.a.list) n += i; n`: `6`} {
		if _, err := e.Eval(context.Background(), expr, in); err != nil { // the first one starts the helper
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		got, err := e.Eval(context.Background(), expr, in)
		runtime.ReadMemStats(&after)
		if err != nil || string(got) != want {
			t.Errorf("%s is %s, %v, want %s", expr, got, err, want)
		}
		if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 1<<20 {
			t.Errorf("%s allocated %d KB", expr, allocated>>10)
		}
	}
	const some = 4 << 20
	in[Ref{Name: Results, Key: "b"}] = json.RawMessage(`"` + strings.Repeat("x", some) + `"`)
	if got, err := e.Eval(context.Background(), `let s = results.b; s.length`, in); err != nil || string(got) != fmt.Sprint(some) {
		t.Errorf("a whole value: %s, %v", got, err)
	}
}

// TestParallel evaluates from many goroutines.
func TestParallel(t *testing.T) {
	e := New(Config{Helper: helperCommand()})
	t.Cleanup(e.Close)
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for i := range 50 {
				c := cases[(g*7+i)%len(cases)]
				if got, err := e.Eval(context.Background(), c.expr, scope()); err != nil || !same(got, c.want) {
					t.Errorf("%s: %s, %v, want %s", c.expr, got, err, c.want)
				}
			}
		})
	}
	wg.Wait()
}

func TestCacheDropsWhatIsOld(t *testing.T) {
	e := New(Config{Programs: 8})
	for i := range 100 {
		if _, err := e.Compile(fmt.Sprint("1 + ", i)); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(e.programs.young) + len(e.programs.old); n > 8 {
		t.Errorf("%d programs are kept, want 8 at most", n)
	}
	a, _ := e.Compile("1 + 99")
	b, _ := e.Compile("1 + 99")
	if a != b {
		t.Error("a program was compiled twice")
	}
}

// TestCollectorFault tells a fault of Go's collector, which only a refused allocation brings about, from a panic.
func TestCollectorFault(t *testing.T) {
	for text, want := range map[string]bool{
		"SIGSEGV: segmentation violation\nPC=0x437cbd m=2 sigcode=1 addr=0x0\n\ngoroutine 0 gp=0x2cdb46686b40 m=2 [idle]:":                                     true,
		"panic: runtime error: invalid memory address or nil pointer dereference\n[signal SIGSEGV: segmentation violation code=0x1]\n\ngoroutine 7 [running]:": false,
		"fatal error: all goroutines are asleep - deadlock!": false,
	} {
		if got := collectorFault(text); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}
