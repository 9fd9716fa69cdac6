package clock

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestSet(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("cc"); err != nil {
		t.Skip("no C compiler here")
	}
	c, err := New(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []time.Duration{0, time.Hour, -time.Hour} {
		if err := c.Set(d); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("date", "+%s")
		cmd.Env = append(os.Environ(), c.Env()...)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		said, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if off := time.Until(time.Unix(said, 0)) - d; off.Abs() > 30*time.Second {
			t.Fatalf("set to %s, the program is off by %s more", d, off)
		}
	}
}
