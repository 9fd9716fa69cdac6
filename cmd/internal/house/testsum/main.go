// Command testsum reads the events of "go test -json" on standard input and says what matters: a line for each package, the
// whole output of what failed, and at the end how many tests passed and which were skipped, each with its reason. It exits
// with 1 when anything failed, or when nothing ran at all.
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	title := flag.String("title", "tests", "what the last line calls this run")
	flag.Parse()
	s := newSummary(os.Stdout, *title)
	if err := s.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "testsum:", err)
		os.Exit(1)
	}
	if !s.finish() {
		os.Exit(1)
	}
}
