package catalog

import (
	"strings"
	"sync"
	"sync/atomic"

	"github.com/millrace/millrace/engine"
)

type (
	pathKey struct{ ws, path string }
	hashKey struct {
		ws   string
		hash engine.Hash
	}
)

// maxBytes bounds the sources, schemas and locks held in memory.
const maxBytes = 64 << 20

// memory remembers scripts. A hit takes a read lock and allocates nothing. When it is full, what was not asked for since the
// last time it was full goes.
type memory struct {
	limit, maxBytes int

	mu     sync.RWMutex
	on     bool   // off while changes are not heard of
	epoch  uint64 // counts drops
	bytes  int    // of all in hashes
	hashes map[hashKey]*kept
	paths  map[pathKey]*kept // each is in hashes, too
}

type kept struct {
	script *engine.Script
	used   atomic.Bool
}

func newMemory(limit int) *memory {
	return &memory{limit: limit, maxBytes: maxBytes, paths: map[pathKey]*kept{}, hashes: map[hashKey]*kept{}}
}

// byPath returns the script, or nil and the epoch that a put after reading the database must bring back.
func (m *memory) byPath(k pathKey) (*engine.Script, uint64) {
	m.mu.RLock()
	e, epoch := m.paths[k], m.epoch
	m.mu.RUnlock()
	return e.take(), epoch
}

func (m *memory) byHash(k hashKey) (*engine.Script, uint64) {
	m.mu.RLock()
	e, epoch := m.hashes[k], m.epoch
	m.mu.RUnlock()
	return e.take(), epoch
}

func (e *kept) take() *engine.Script {
	if e == nil {
		return nil
	}
	if !e.used.Load() { // a plain load keeps the cache line shared
		e.used.Store(true)
	}
	return e.script
}

// put remembers s unless something was dropped since epoch: s may then be older than what was dropped.
func (m *memory) put(s *engine.Script, current bool, epoch uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.on || epoch != m.epoch {
		return
	}
	k := hashKey{s.Workspace, s.Hash}
	m.remove(k)
	for len(m.hashes) > 0 && (len(m.hashes) >= m.limit || m.bytes+size(s) > m.maxBytes) {
		m.sweep()
	}
	e := &kept{script: s}
	m.hashes[k] = e
	m.bytes += size(s)
	if current {
		m.paths[pathKey{s.Workspace, s.Path}] = e
	}
}

// sweep makes room: what was not used since the last sweep goes; if everything was, an arbitrary eighth.
func (m *memory) sweep() {
	before := len(m.hashes)
	for k, e := range m.hashes {
		if !e.used.Swap(false) {
			m.remove(k)
		}
	}
	if len(m.hashes) < before {
		return
	}
	for k := range m.hashes {
		m.remove(k)
		if len(m.hashes) <= before*7/8 {
			return
		}
	}
}

func (m *memory) remove(k hashKey) {
	e := m.hashes[k]
	if e == nil {
		return
	}
	delete(m.hashes, k)
	m.bytes -= size(e.script)
	if p := (pathKey{k.ws, e.script.Path}); m.paths[p] == e {
		delete(m.paths, p)
	}
}

func size(s *engine.Script) int {
	n := 1024 + len(s.Content) + len(s.Schema) + len(s.Doc)
	if s.Lock != nil {
		n += len(*s.Lock)
	}
	for k, v := range s.Extra {
		n += len(k) + len(v)
	}
	return n
}

// drop forgets what "<workspace>/<path>" was; with all, everything.
func (m *memory) drop(name string, all bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.epoch++
	ws, path, ok := strings.Cut(name, "/")
	if all || !ok {
		m.reset()
		return
	}
	for k, e := range m.hashes {
		if k.ws == ws && e.script.Path == path {
			m.remove(k)
		}
	}
}

func (m *memory) enable(on bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.on = on
	m.epoch++
	m.reset()
}

func (m *memory) reset() {
	clear(m.paths)
	clear(m.hashes)
	m.bytes = 0
}
