package pgserver

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"
)

func TestChoose(t *testing.T) {
	all := []Binaries{{"a", 14}, {"b", 15}, {"c", 17}, {"d", 19}}
	for _, c := range []struct {
		name  string
		found []Binaries
		major int
		want  string
		err   string
	}{
		{"only too old", all[:1], 0, "", "15 to 18 is needed"},
		{"other major", all[1:2], 17, "", "pg_upgrade"},
		{"other major says how", all[1:2], 17, "", "apt install postgresql-17"},
		{"newest supported", all, 0, "c", ""},
		{"that of the cluster", all, 15, "b", ""},
		{"an unsupported cluster keeps its own", all, 14, "a", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, err := choose(append([]Binaries(nil), c.found...), c.major)
			if b.Dir != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("got %v, %v", b, err)
			}
		})
	}
}

func TestSettingsFollowTheHost(t *testing.T) {
	for _, c := range []struct {
		memMB, diskGB int64
		shared        int
		want          []string
	}{
		{512, 4, 0, []string{"shared_buffers=128MB", "max_wal_size=256MB", "work_mem=4MB"}},
		{16 << 10, 100, 0, []string{"shared_buffers=128MB", "max_wal_size=4096MB", "min_wal_size=1024MB", "work_mem=16MB"}},
		{96 << 10, 1000, 0, []string{"shared_buffers=512MB"}},
		{512 << 10, 4000, 0, []string{"shared_buffers=2048MB", "max_wal_size=4096MB"}},
		{512 << 10, 4000, 77, []string{"shared_buffers=77MB", "fsync=on", "full_page_writes=on", "synchronous_commit=on"}},
	} {
		got := " "
		for _, kv := range settings(size{memory: c.memMB << 20, disk: c.diskGB << 30}, c.shared) {
			got += kv[0] + "=" + kv[1] + " "
		}
		for _, w := range c.want {
			if !strings.Contains(got, " "+w+" ") {
				t.Errorf("%d MB, %d GB: no %s in %s", c.memMB, c.diskGB, w, got)
			}
		}
	}
	if m := hostMemory(); m < 64<<20 {
		t.Errorf("host memory %d", m)
	}
}

func TestLogRotatesAndReports(t *testing.T) {
	var seen bytes.Buffer
	path := filepath.Join(t.TempDir(), "postgres.log")
	l, err := openLog(path, zerolog.New(&seen))
	if err != nil {
		t.Fatal(err)
	}
	l.max = 1000
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	lr := l.read(r)
	send := func(s string) {
		if _, err := w.WriteString(s); err != nil {
			t.Fatal(err)
		}
	}
	send("2026-01-01 [1] FATAL:  the database system is starting up\n")
	for range 60 {
		send(strings.Repeat("x", 99) + "\n")
	}
	send(strings.Repeat("y", 40000)) // longer than the buffer, no line end
	send("\n2026-01-01 [1] PANIC:  could not write\nlast words\n")
	w.Close()
	lr.finish()
	l.close()
	if got := seen.String(); strings.Contains(got, "starting up") || !strings.Contains(got, "could not write") {
		t.Errorf("daemon's log: %s", got)
	}
	if got := lr.last(); !strings.HasSuffix(got, "PANIC:  could not write | last words") {
		t.Errorf("last: %q", got)
	}
	for _, suffix := range []string{"", ".1", ".2", ".3"} {
		if _, err := os.Stat(path + suffix); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(path + ".4"); err == nil {
		t.Error("too many old logs are kept")
	}
}
