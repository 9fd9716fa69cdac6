package main

import (
	"strings"
	"testing"
)

const p = `"Package":"github.com/millrace/millrace/engine/x"`

func TestSummary(t *testing.T) {
	cases := []struct {
		name, in, want string
		ok             bool
	}{
		{"passed and skipped", `{"Action":"output",` + p + `,"Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"pass",` + p + `,"Test":"TestA"}
{"Action":"output",` + p + `,"Test":"TestB","Output":"    b_test.go:7: needs root: user namespaces\n"}
{"Action":"output",` + p + `,"Test":"TestB","Output":"--- SKIP: TestB (0.00s)\n"}
{"Action":"skip",` + p + `,"Test":"TestB"}
{"Action":"pass",` + p + `,"Elapsed":1.25}
{"Action":"skip","Package":"github.com/millrace/millrace/engine/empty"}
`, `ok   engine/x                                    1 passed     1.2s
skipped engine/x TestB: needs root: user namespaces
tests: 1 passed, 0 failed, 1 skipped in 1 packages (1 without tests)
`, true},
		{"failed", `{"Action":"output",` + p + `,"Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output",` + p + `,"Test":"TestA","Output":"    a_test.go:3: got 1, want 2\n"}
{"Action":"fail",` + p + `,"Test":"TestA","Elapsed":0.5}
{"Action":"fail",` + p + `,"Elapsed":0.6}
`, `FAIL engine/x TestA (0.5s)
         a_test.go:3: got 1, want 2
FAIL engine/x (0.6s)
failed  engine/x TestA
tests: 0 passed, 1 failed, 0 skipped in 1 packages (0 without tests)
`, false},
		{"does not build", `{"ImportPath":"github.com/millrace/millrace/engine/x","Action":"build-output","Output":"x.go:3:1: syntax error\n"}
{"ImportPath":"github.com/millrace/millrace/engine/x","Action":"build-fail"}
{"Action":"fail",` + p + `,"Elapsed":0,"FailedBuild":"github.com/millrace/millrace/engine/x"}
`, `FAIL engine/x (0.0s)
     x.go:3:1: syntax error
failed  engine/x 
tests: 0 passed, 1 failed, 0 skipped in 1 packages (0 without tests)
`, false},
		{"panics", `{"Action":"output",` + p + `,"Test":"TestA","Output":"panic: boom\n"}
{"Action":"fail",` + p + `,"Elapsed":0.1}
`, `FAIL engine/x (0.1s)
     panic: boom
failed  engine/x 
tests: 0 passed, 1 failed, 0 skipped in 1 packages (0 without tests)
`, false},
		{"nothing", "go: no packages\n", `go: no packages
tests: 0 passed, 0 failed, 0 skipped in 0 packages (0 without tests)
tests: nothing ran
`, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var out strings.Builder
			s := newSummary(&out, "tests")
			if err := s.read(strings.NewReader(c.in)); err != nil {
				t.Fatal(err)
			}
			if ok := s.finish(); ok != c.ok || out.String() != c.want {
				t.Errorf("ok %v, want %v; got:\n%s\nwant:\n%s", ok, c.ok, out.String(), c.want)
			}
		})
	}
}
