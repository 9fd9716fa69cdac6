package main

import (
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/millrace/millrace/runtimes"
)

func parse(t *testing.T, env map[string]string, args ...string) (config, error) {
	t.Helper()
	return parseConfig(args, func(name string) string { return env[name] }, io.Discard)
}

func TestFlagsOverEnvironmentOverDefaults(t *testing.T) {
	c, err := parse(t, map[string]string{"MILLRACE_LEASE": "10s", "MILLRACE_TAGS": "gpu", "MILLRACE_QUEUE_LIMIT": "500"}, "--tags", "default,big")
	if err != nil {
		t.Fatal(err)
	}
	if c.lease != 10*time.Second || c.tags != "default,big" || c.retention != 30 || c.queueLimit != 500 {
		t.Fatalf("lease %s, tags %q, retention %d, queue limit %d", c.lease, c.tags, c.retention, c.queueLimit)
	}
}

func TestWrongFlagsSayWhatWouldBeRight(t *testing.T) {
	for _, c := range []struct{ flag, value, hint string }{
		{"--lease", "1s", "at least 2s"},
		{"--lease", "soon", "such as 30s"},
		{"--tags", "gpu,,big", "empty tag"},
		{"--slots", "-1", "0 for automatic"},
		{"--dedicated", "some", "0 for none, or auto"},
		{"--drain", "x", "such as 30s"},
		{"--queue-limit", "-1", "0 for any number"},
		{"--retention-days", "0", "at least 1"},
		{"--isolation", "some", "full, nsjail or none"},
		{"--log", "xml", "json or console"},
	} {
		_, err := parse(t, nil, c.flag, c.value)
		if err == nil || !strings.Contains(err.Error(), c.flag) || !strings.Contains(err.Error(), c.hint) {
			t.Errorf("%s %s: %v", c.flag, c.value, err)
		}
	}
}

func TestTags(t *testing.T) {
	reg := families()
	var here *runtimes.Entry
	for _, e := range reg.All() {
		if here == nil && e.Info().Shares {
			here = e
			continue
		}
		e.Err = io.EOF // only one language is here
	}
	first, kept := here.Info().Tag, here.Info().DedicatedTag()
	for _, c := range []struct {
		flag                       string
		max                        int
		process, native, dedicated string
	}{
		{"default", 1, "dependency " + first, "flow noop", kept},
		{"default", 0, "dependency " + first + " " + kept, "flow noop", ""},
		{"gpu", 1, "gpu", "", ""},
		{"noop", 1, "", "noop", ""},
		{kept, 1, "", "", kept},
		{"default, gpu,gpu", 1, "dependency gpu " + first, "flow noop", kept},
	} {
		d := &daemon{cfg: config{tags: c.flag, dedicated: c.max}, registry: reg, log: zerolog.Nop()}
		got := d.tags()
		want := strings.Fields(c.process)
		slices.Sort(want)
		if slices.ContainsFunc(want, func(tag string) bool { return tag != dependencyTag }) {
			want = append(want, d.homeTag()) // who runs scripts runs the flows that began here
		}
		if !slices.Equal(got.process, want) || strings.Join(got.native, " ") != c.native || strings.Join(got.dedicated, " ") != c.dedicated {
			t.Errorf("--tags %s: %+v", c.flag, got)
		}
	}
}
