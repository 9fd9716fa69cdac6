package catalog

import (
	"fmt"
	"strings"
	"testing"

	"github.com/millrace/millrace/engine"
)

func entry(i int) script {
	return script{&engine.Script{Workspace: "main", Path: fmt.Sprintf("u/ann/s%d", i), Hash: engine.Hash(i)}}
}

func TestMemoryRefusesWhatIsOlderThanADrop(t *testing.T) {
	m := newMemory[script](10)
	m.put(entry(1), true, 0)
	if s, _ := m.byPath(pathKey{"main", "u/ann/s1"}); s.Script != nil {
		t.Error("it remembers while it is off")
	}
	m.enable(true)
	_, epoch := m.byPath(pathKey{"main", "u/ann/s1"})
	m.drop("main/u/ann/s1", false) // while the database is read
	m.put(entry(1), true, epoch)
	if s, _ := m.byPath(pathKey{"main", "u/ann/s1"}); s.Script != nil {
		t.Error("a stale script came back")
	}
	_, epoch = m.byPath(pathKey{"main", "u/ann/s1"})
	m.put(entry(1), true, epoch)
	m.put(entry(2), true, epoch)
	m.drop("main/u/ann/s1", false)
	if s, _ := m.byHash(hashKey{"main", 1}); s.Script != nil {
		t.Error("a version outlives the drop of its path")
	}
	if s, _ := m.byPath(pathKey{"main", "u/ann/s2"}); s.Script == nil {
		t.Error("another path was dropped, too")
	}
	m.drop("", true)
	if len(m.paths)+len(m.hashes)+m.bytes != 0 {
		t.Errorf("after dropping all: %d paths, %d versions, %d bytes", len(m.paths), len(m.hashes), m.bytes)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	m := newMemory[script](8)
	m.enable(true)
	hot := entry(0)
	m.put(hot, true, m.epoch)
	for i := 1; i < 1000; i++ {
		if s, _ := m.byPath(pathKey{"main", hot.Path}); s.Script == nil {
			t.Fatalf("what is always asked for was dropped after %d others", i)
		}
		m.put(entry(i), true, m.epoch)
		if len(m.hashes) > 8 || len(m.paths) > 8 {
			t.Fatalf("%d versions, %d paths", len(m.hashes), len(m.paths))
		}
	}
	for k, e := range m.hashes { // all in use
		e.used.Store(true)
		_ = k
	}
	m.put(entry(1000), true, m.epoch)
	if s, _ := m.byHash(hashKey{"main", 1000}); s.Script == nil || len(m.hashes) > 8 {
		t.Errorf("nothing gives way: %d", len(m.hashes))
	}

	m = newMemory[script](1000)
	m.enable(true)
	m.maxBytes = 100 << 10
	for i := range 100 {
		s := entry(i)
		s.Content = strings.Repeat("x", 9<<10)
		m.put(s, true, m.epoch)
		sum := 0
		for _, e := range m.hashes {
			sum += e.version.size()
		}
		if m.bytes > m.maxBytes || m.bytes != sum {
			t.Fatalf("%d bytes counted, %d there", m.bytes, sum)
		}
	}
}

func TestNearest(t *testing.T) {
	paths := []string{"u/ann/etl", "u/ann/etl2", "f/jobs/report", "f/jobs/resort", "u/bob/etl", "f/x/zebra"}
	for path, want := range map[string]string{
		"u/ann/elt":        "u/ann/etl u/ann/etl2",
		"f/job/report":     "f/jobs/report f/jobs/resort",
		"f/far/away/zebra": "f/x/zebra",
		"u/zoe/nothing":    "",
	} {
		if got := strings.Join(nearest(path, paths, 3), " "); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

func TestHashTellsFieldsApart(t *testing.T) {
	seen := map[engine.Hash]string{}
	for name, s := range map[string]*engine.Script{
		"empty":          {},
		"content":        {Content: "ab"},
		"summary":        {Summary: "ab"},
		"split":          {Content: "a", Summary: "b"},
		"lock":           {Lock: new(string)},
		"path":           {Path: "ab"},
		"workspace":      {Workspace: "ab"},
		"parent":         {Parents: []engine.Hash{1}},
		"another parent": {Parents: []engine.Hash{2, 1}},
	} {
		h := hashOf(s, 0)
		if other, dup := seen[h]; dup || h != hashOf(s, 0) || h == hashOf(s, 1) {
			t.Errorf("%s and %s: %s", name, other, h)
		}
		seen[h] = name
	}
}
