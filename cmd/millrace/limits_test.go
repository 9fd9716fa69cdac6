package main

import (
	"io"
	"strings"
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/sandbox"
)

func TestLimitFlags(t *testing.T) {
	none := func(string) string { return "" }
	c, err := parseConfig(nil, none, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if c.limits.Memory <= 0 || c.limits.Memory > sandbox.DefaultLimits.Memory || c.limits.CPU != 0 || c.limits.Swap != 0 || c.limits.IO != 0 {
		t.Errorf("defaults: %+v", c.limits)
	}
	if m := c.maxLimits; m.MemoryMB <= 0 || m.CPU < 1 || m.Pids < 256 || m.WorkMB <= 0 || m.OpenFiles < 1024 || m.OutputMB < 20 {
		t.Errorf("maxima: %+v", m)
	}
	c, err = parseConfig([]string{"--limits", "memory_mb=64, cpu=0.5,pids=20,work_mb=8,swap_mb=16,io_mb=3,open_files=100,output_mb=2", "--max-limits",
		"memory_mb=100,cpu=1.5,pids=30,work_mb=9,open_files=200,output_mb=5"},
		none, io.Discard)
	want := sandbox.Limits{Memory: 64 << 20, CPU: 0.5, Pids: 20, WorkSize: 8 << 20, Swap: 16 << 20, IO: 3 << 20, OpenFiles: 100, Output: 2 << 20}
	if err != nil || c.limits != want || c.maxLimits != (engine.LimitOptions{MemoryMB: 100, CPU: 1.5, Pids: 30, WorkMB: 9, OpenFiles: 200, OutputMB: 5}) {
		t.Errorf("%+v %+v %v", c.limits, c.maxLimits, err)
	}
	c, err = parseConfig([]string{"--max-limits", "memory_mb=100,pids=30"}, none, io.Discard)
	if err != nil || c.limits.Memory != 100<<20 || c.limits.Pids != 30 {
		t.Errorf("defaults above the maxima: %+v %v", c.limits, err)
	}
	for _, bad := range []string{"memory=5", "memory_mb", "memory_mb=", "memory_mb=-1", "memory_mb=many", "cpu=NaN", "memory_mb=1,", "memory_mb=1"} {
		if _, err := parseConfig([]string{"--limits", bad}, none, io.Discard); err == nil || !strings.Contains(err.Error(), "--limits") {
			t.Errorf("--limits %s: %v", bad, err)
		}
	}
	if _, err := parseConfig([]string{"--max-limits", "swap_mb=1"}, none, io.Discard); err == nil || !strings.Contains(err.Error(), "--max-limits") {
		t.Errorf("--max-limits of what cannot be asked for: %v", err)
	}
}
