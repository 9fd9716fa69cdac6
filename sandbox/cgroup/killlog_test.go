package cgroup

import (
	"testing"

	"github.com/millrace/millrace/sandbox"
)

func TestParseKill(t *testing.T) {
	const rest = " total-vm:66568kB, anon-rss:64768kB, file-rss:580kB, shmem-rss:4kB, UID:1900000063 pgtables:164kB oom_score_adj:1000\n"
	const start = "3,13445,21645650630,-;Memory cgroup out of memory: Killed process 5357 "
	for line, want := range map[string]sandbox.Kill{
		start + "(python3)" + rest:          {Command: "python3", Memory: 65352 << 10},
		start + "()" + rest:                 {Memory: 65352 << 10},
		start + "(a) total-vm:1kB,)" + rest: {Command: "a) total-vm:1kB,", Memory: 65352 << 10}, // longer than a name can be
		start + "(tab\\x09 name)" + rest:    {Command: "tab\\x09 name", Memory: 65352 << 10},
	} {
		if uid, k, ok := parseKill([]byte(line)); !ok || uid != 1900000063 || k != want {
			t.Errorf("%q: %d %+v %v", line, uid, k, ok)
		}
	}
	for _, line := range []string{
		"", ";", "3,1,1,-;something else", "3,1,1,-;x;Memory cgroup out of memory: Killed process 5357 (python3)" + rest,
		"3,1,1,-;Out of memory: Killed process 5357 (python3)" + rest, start + "(python3) total-vm:1kB, UID:1 ",
		start + "(python3) total-vm:1kB, anon-rss:99999999999999999999kB, file-rss:0kB, shmem-rss:0kB, UID:5 x",
		start + "(python3) total-vm:1kB, anon-rss:1kB, file-rss:0kB, shmem-rss:0kB, UID:99999999999999999999 x",
	} {
		if uid, k, ok := parseKill([]byte(line)); ok {
			t.Errorf("%q is taken for a kill: %d %+v", line, uid, k)
		}
	}
}

func FuzzParseKill(f *testing.F) {
	f.Add([]byte("3,1,1,-;Memory cgroup out of memory: Killed process 1 (a) total-vm:1kB, anon-rss:1kB, file-rss:1kB, shmem-rss:1kB, UID:7 x"))
	f.Fuzz(func(t *testing.T, record []byte) {
		if uid, k, ok := parseKill(record); ok && (uid < 0 || k.Memory < 0 || len(k.Command) > 64) {
			t.Errorf("%d %+v", uid, k)
		}
	})
}
