package pgserver

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
)

const confHeader = `# Written by millrace at every start; changes here are lost. Put your own settings into custom.conf, they win.
`

// accessRules is pg_hba.conf. The wall is the socket's folder (0700) and the socket (0700), not a password: whoever gets as
// far as connecting is postgres' own user or root. Peer authentication would add nothing and fail for users without a name.
const accessRules = "# Written by millrace at every start.\nlocal all " + Role + " trust\n"

// size is what the settings are computed from.
type size struct {
	memory int64 // bytes that this host (or our cgroup) has
	disk   int64 // bytes of the file system
}

// settings returns postgresql.conf's lines. Measured reasons: everything that could be tuned was indistinguishable from the
// default on the queue's load, except what is set here; durability is never traded away.
func settings(sz size, sharedMB int) [][2]string {
	mb := sz.memory >> 20
	if sharedMB <= 0 {
		// What lies there stays the server's until it stops, also when nothing runs. The queue's load is as fast with 128 MB as with
		// sixteen times that: the hot table is small, and the rest is written once.
		sharedMB = int(min(max(mb/192, 128), 2048))
	}
	walMB := min(max(sz.disk>>20/16, 256), 4096)
	return [][2]string{
		{"listen_addresses", "''"},
		{"port", strconv.Itoa(port)},
		{"unix_socket_permissions", "0700"},
		{"max_connections", "50"},
		{"shared_buffers", fmt.Sprintf("%dMB", sharedMB)},
		{"effective_cache_size", fmt.Sprintf("%dMB", max(mb/2, int64(sharedMB)))},
		{"work_mem", fmt.Sprintf("%dMB", min(max(mb/1024, 4), 32))},
		{"maintenance_work_mem", fmt.Sprintf("%dMB", min(max(mb/64, 32), 512))},
		{"max_parallel_workers_per_gather", "0"}, // cores are for jobs; also no use of /dev/shm, which containers keep small
		{"jit", "off"},
		{"wal_level", "minimal"},
		{"max_wal_senders", "0"},
		{"fsync", "on"},
		{"synchronous_commit", "on"},
		{"full_page_writes", "on"},
		{"wal_sync_method", "fdatasync"},
		{"commit_delay", "0"},
		{"wal_buffers", "16MB"},
		{"max_wal_size", fmt.Sprintf("%dMB", walMB)},
		{"min_wal_size", fmt.Sprintf("%dMB", walMB/4)},
		{"checkpoint_timeout", "15min"},
		{"checkpoint_completion_target", "0.9"},
		{"autovacuum_naptime", "5s"},
		{"autovacuum_vacuum_cost_delay", "0"},
		{"idle_in_transaction_session_timeout", "10s"},
		{"password_encryption", "scram-sha-256"},
		{"timezone", "'UTC'"},
		{"log_timezone", "'UTC'"},
		{"datestyle", "'iso, ymd'"},
		{"lc_messages", "'C'"}, // FATAL lines are recognised by this word
		{"logging_collector", "off"},
		{"log_destination", "'stderr'"},
		{"log_line_prefix", "'%m [%p] '"},
		// Statements and row values hold job arguments: they never reach a log file.
		{"log_error_verbosity", "terse"},
		{"log_min_error_statement", "panic"},
		{"log_parameter_max_length_on_error", "0"},
	}
}

// Settings returns the lines of postgresql.conf that a private server with its data in dir is given on this host, for servers that
// measure what it would do.
func Settings(dir string) [][2]string {
	_, disk := diskSpace(dir)
	return settings(size{memory: hostMemory(), disk: disk}, 0)
}

// writeConfig writes postgresql.conf and pg_hba.conf when they differ from what they should say.
func (s *Server) writeConfig(ctx context.Context) error {
	_, disk := diskSpace(s.place.data)
	var b bytes.Buffer
	b.WriteString(confHeader)
	for _, kv := range settings(size{memory: hostMemory(), disk: disk}, s.cfg.SharedBuffersMB) {
		fmt.Fprintf(&b, "%s = %s\n", kv[0], kv[1])
	}
	// A list: commas and blanks of the folder's name are taken literally within double quotes.
	folder := `"` + strings.ReplaceAll(s.place.socket, `"`, `""`) + `"`
	fmt.Fprintf(&b, "unix_socket_directories = %s\n", quoteConf(folder))
	fmt.Fprintf(&b, "wal_compression = %s\n", s.walCompression(ctx))
	for _, k := range sortedKeys(s.cfg.Settings) {
		fmt.Fprintf(&b, "%s = %s\n", k, quoteConf(s.cfg.Settings[k]))
	}
	b.WriteString("include_if_exists = 'custom.conf'\n")
	if err := s.writeOwned(filepath.Join(s.place.data, "postgresql.conf"), b.Bytes()); err != nil {
		return err
	}
	return s.writeOwned(filepath.Join(s.place.data, "pg_hba.conf"), []byte(accessRules))
}

// walCompression is lz4 where this build of postgres has it.
func (s *Server) walCompression(ctx context.Context) string {
	old, err := os.ReadFile(filepath.Join(s.place.data, "postgresql.conf"))
	if err == nil && bytes.HasPrefix(old, []byte(confHeader)) && bytes.Contains(old, []byte("\nwal_compression = lz4\n")) {
		return "lz4" // asked before; saves a process at each start
	}
	cmd := s.command(ctx, "postgres", "-C", "wal_compression", "-c", "wal_compression=lz4", "-D", s.place.data)
	if cmd.Run() == nil {
		return "lz4"
	}
	return "on"
}

// writeOwned replaces a file of the cluster unless it already says so.
func (s *Server) writeOwned(path string, text []byte) error {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, text) {
		return nil
	}
	tmp := path + ".new"
	err := os.WriteFile(tmp, text, 0o600)
	if err == nil && s.cred != nil {
		err = os.Chown(tmp, int(s.cred.Uid), int(s.cred.Gid))
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return explain(fmt.Errorf("write %s: %w", filepath.Base(path), err))
	}
	return nil
}

func quoteConf(v string) string {
	return "'" + strings.ReplaceAll(strings.ReplaceAll(v, `\`, `\\`), "'", "''") + "'"
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// hostMemory is the memory of the host, or less when a cgroup limits us.
func hostMemory() int64 {
	mem := int64(1 << 30)
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); len(f) >= 2 && f[0] == "MemTotal:" {
				if kb, err := strconv.ParseInt(f[1], 10, 64); err == nil {
					mem = kb << 10
				}
			}
		}
	}
	for _, path := range memoryLimits() {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && n > 0 && n < mem {
			mem = n
		}
	}
	return mem
}

// memoryLimits names the files that may bound our memory, of cgroup v1 and v2.
func memoryLimits() []string {
	files := []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return files
	}
	for line := range strings.Lines(string(text)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		switch {
		case f[1] == "":
			files = append(files, filepath.Join("/sys/fs/cgroup", f[2], "memory.max"))
		case f[1] == "memory":
			files = append(files, filepath.Join("/sys/fs/cgroup/memory", f[2], "memory.limit_in_bytes"))
		}
	}
	return files
}
