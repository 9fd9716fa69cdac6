package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// event is one line of "go test -json"; builds report under ImportPath, tests under Package.
type event struct {
	Action      string
	Package     string
	ImportPath  string
	Test        string
	Elapsed     float64
	Output      string
	FailedBuild string
}

type testID struct{ pkg, test string }

type skip struct {
	testID
	reason string
}

// summary gathers events. One goroutine uses it.
type summary struct {
	out    io.Writer
	title  string
	output map[testID][]string // of tests and packages that have not ended
	builds map[string][]string // by import path
	passed map[string]int      // tests, subtests included, by package
	failed []testID
	skips  []skip
	empty  int // packages without tests
	ran    int // packages with tests
}

func newSummary(out io.Writer, title string) *summary {
	return &summary{out: out, title: title, output: map[testID][]string{}, builds: map[string][]string{}, passed: map[string]int{}}
}

// read consumes events until the input ends. Lines that are no events are passed through.
func (s *summary) read(in io.Reader) error {
	r := bufio.NewReader(in)
	for {
		line, err := r.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			var e event
			if json.Unmarshal(line, &e) == nil && e.Action != "" {
				s.take(e)
			} else {
				fmt.Fprintf(s.out, "%s\n", bytes.TrimRight(line, "\n"))
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read events: %w", err)
		}
	}
}

func (s *summary) take(e event) {
	id := testID{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		s.builds[e.ImportPath] = append(s.builds[e.ImportPath], e.Output)
	case "output":
		s.output[id] = append(s.output[id], e.Output)
	case "pass", "fail", "skip":
		if e.Test != "" {
			s.endTest(id, e)
		} else {
			s.endPackage(id, e)
		}
	}
}

func (s *summary) endTest(id testID, e event) {
	switch e.Action {
	case "pass":
		s.passed[id.pkg]++
	case "skip":
		s.skips = append(s.skips, skip{id, reason(s.output[id])})
	case "fail":
		s.failed = append(s.failed, id)
		fmt.Fprintf(s.out, "FAIL %s %s (%.1fs)\n", short(id.pkg), id.test, e.Elapsed)
		s.show(s.output[id])
	}
	delete(s.output, id)
}

func (s *summary) endPackage(id testID, e event) {
	defer delete(s.output, id)
	switch e.Action {
	case "skip":
		s.empty++
		return
	case "fail":
		s.ran++
		fmt.Fprintf(s.out, "FAIL %s (%.1fs)\n", short(id.pkg), e.Elapsed)
		if e.FailedBuild != "" {
			s.show(s.builds[e.FailedBuild])
		}
		// A panic or a time-out leaves tests that never ended: their output says where.
		for open, lines := range s.output {
			if open.pkg == id.pkg {
				s.show(lines)
			}
		}
		if !slices.ContainsFunc(s.failed, func(f testID) bool { return f.pkg == id.pkg }) {
			s.failed = append(s.failed, id)
		}
	case "pass":
		s.ran++
		fmt.Fprintf(s.out, "ok   %-40s %4d passed  %6.1fs\n", short(id.pkg), s.passed[id.pkg], e.Elapsed)
	}
}

func (s *summary) show(lines []string) {
	for _, l := range lines {
		if !strings.HasPrefix(l, "=== ") {
			fmt.Fprintf(s.out, "     %s\n", strings.TrimRight(l, "\n"))
		}
	}
}

// finish prints the end of the report and tells whether all is well.
func (s *summary) finish() bool {
	passed := 0
	for _, n := range s.passed {
		passed += n
	}
	slices.SortFunc(s.skips, func(a, b skip) int {
		return strings.Compare(a.reason+a.pkg+a.test, b.reason+b.pkg+b.test)
	})
	for _, k := range s.skips {
		fmt.Fprintf(s.out, "skipped %s %s: %s\n", short(k.pkg), k.test, k.reason)
	}
	for _, f := range s.failed {
		fmt.Fprintf(s.out, "failed  %s %s\n", short(f.pkg), f.test)
	}
	fmt.Fprintf(s.out, "%s: %d passed, %d failed, %d skipped in %d packages (%d without tests)\n",
		s.title, passed, len(s.failed), len(s.skips), s.ran, s.empty)
	if s.ran == 0 {
		fmt.Fprintf(s.out, "%s: nothing ran\n", s.title)
		return false
	}
	return len(s.failed) == 0
}

// reason finds what t.Skip said: the lines between the test's own marks, without the position.
func reason(lines []string) string {
	var said []string
	for _, l := range lines {
		l = strings.TrimSpace(l)
		if l == "" || strings.HasPrefix(l, "=== ") || strings.HasPrefix(l, "--- ") {
			continue
		}
		if _, rest, ok := strings.Cut(l, ".go:"); ok {
			if _, text, ok := strings.Cut(rest, ": "); ok {
				l = text
			}
		}
		said = append(said, l)
	}
	if len(said) == 0 {
		return "(no reason given)"
	}
	return strings.Join(said, "; ")
}

func short(pkg string) string {
	if _, rest, ok := strings.Cut(pkg, "/millrace/millrace/"); ok {
		return rest
	}
	return pkg
}
