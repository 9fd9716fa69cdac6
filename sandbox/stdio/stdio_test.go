package stdio_test

import (
	"io"
	"testing"
	"time"

	"github.com/millrace/millrace/sandbox/stdio"
)

// A writer that stays does not keep the reader once the process has ended, and what was written before is not lost.
func TestEndedBoundsReads(t *testing.T) {
	p, err := stdio.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for _, f := range []io.Writer{p.JobOutput, p.JobConn} {
		if _, err := io.WriteString(f, "said"); err != nil {
			t.Fatal(err)
		}
	}
	p.Ended()
	begin := time.Now()
	for _, r := range []io.Reader{p.Output, p.Conn} {
		if data, err := io.ReadAll(r); err != nil || string(data) != "said" {
			t.Errorf("read %q %v", data, err)
		}
	}
	if d := time.Since(begin); d > stdio.Grace+5*time.Second {
		t.Errorf("took %v", d)
	}
}

// When all writers are gone there is nothing to wait for.
func TestEOFIsAtOnce(t *testing.T) {
	p, err := stdio.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	p.CloseJobEnds()
	p.Ended()
	begin := time.Now()
	if data, err := io.ReadAll(p.Output); err != nil || len(data) > 0 || time.Since(begin) > stdio.Grace {
		t.Errorf("read %q %v after %v", data, err, time.Since(begin))
	}
}
