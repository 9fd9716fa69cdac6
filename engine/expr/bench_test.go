package expr

import (
	"context"
	"testing"
)

// BenchmarkEval: paths are to stay below 5 us, arithmetic below 50 us.
func BenchmarkEval(b *testing.B) {
	e := New(Config{Helper: helperCommand()})
	b.Cleanup(e.Close)
	for _, c := range []struct{ name, expr string }{
		{"path", `results.a.b[1].c`},
		{"literal", `42`},
		{"arithmetic", `flow_input.x * 2 + 1`},
		{"condition", `result.count > 2 && flow_input.x < 10`},
		{"template", "`hello ${flow_input.s}`"},
		{"object", `{a: flow_input.x, b: results.a.n}`},
		{"map", `flow_input.list.map(x => x.n)`},
		{"apart", `let a = flow_input.x; a + 1`},
	} {
		b.Run(c.name, func(b *testing.B) {
			in := scope()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := e.Eval(context.Background(), c.expr, in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkFirst is the first use: of an expression, of the engine in this process, of a helper process.
func BenchmarkFirst(b *testing.B) {
	b.Run("compile", func(b *testing.B) {
		for b.Loop() {
			if _, err := Compile(`flow_input.x * 2 + results.a.n`); err != nil {
				b.Fatal(err)
			}
		}
	})
	for name, expr := range map[string]string{"here": `flow_input.x * 2 + 1`, "apart": `let a = flow_input.x; a + 1`} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				e := New(Config{Helper: helperCommand()})
				if _, err := e.Eval(context.Background(), expr, scope()); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				e.Close()
				b.StartTimer()
			}
		})
	}
}
