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
		hash engine.Hash // of a script, or the number of a flow's version
	}
)

// version is one of a thing that is deployed.
type version interface {
	key() hashKey
	at() string // its path
	size() int  // bytes
}

// maxBytes bounds the sources, schemas and locks held in memory, of each kind of thing.
const maxBytes = 64 << 20

// memory remembers versions. A hit takes a read lock and allocates nothing. When it is full, what was not asked for since the
// last time it was full goes.
type memory[V version] struct {
	limit, maxBytes int

	mu     sync.RWMutex
	on     bool   // off while changes are not heard of
	epoch  uint64 // counts drops
	bytes  int    // of all in hashes
	hashes map[hashKey]*kept[V]
	paths  map[pathKey]*kept[V] // each is in hashes, too
}

type kept[V version] struct {
	version V
	used    atomic.Bool
}

func newMemory[V version](limit int) *memory[V] {
	return &memory[V]{limit: limit, maxBytes: maxBytes, paths: map[pathKey]*kept[V]{}, hashes: map[hashKey]*kept[V]{}}
}

// byPath returns the version, or nothing and the epoch that a put after reading the database must bring back.
func (m *memory[V]) byPath(k pathKey) (v V, epoch uint64) {
	m.mu.RLock()
	e, epoch := m.paths[k], m.epoch
	m.mu.RUnlock()
	return e.take(), epoch
}

func (m *memory[V]) byHash(k hashKey) (v V, epoch uint64) {
	m.mu.RLock()
	e, epoch := m.hashes[k], m.epoch
	m.mu.RUnlock()
	return e.take(), epoch
}

func (e *kept[V]) take() (v V) {
	if e == nil {
		return v
	}
	if !e.used.Load() { // a plain load keeps the cache line shared
		e.used.Store(true)
	}
	return e.version
}

// put remembers v unless something was dropped since epoch: v may then be older than what was dropped.
func (m *memory[V]) put(v V, current bool, epoch uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.on || epoch != m.epoch {
		return
	}
	k, size := v.key(), v.size()
	m.remove(k)
	for len(m.hashes) > 0 && (len(m.hashes) >= m.limit || m.bytes+size > m.maxBytes) {
		m.sweep()
	}
	e := &kept[V]{version: v}
	m.hashes[k] = e
	m.bytes += size
	if current {
		m.paths[pathKey{k.ws, v.at()}] = e
	}
}

// sweep makes room: what was not used since the last sweep goes; if everything was, an arbitrary eighth.
func (m *memory[V]) sweep() {
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

func (m *memory[V]) remove(k hashKey) {
	e := m.hashes[k]
	if e == nil {
		return
	}
	delete(m.hashes, k)
	m.bytes -= e.version.size()
	if p := (pathKey{k.ws, e.version.at()}); m.paths[p] == e {
		delete(m.paths, p)
	}
}

// script is a script's version in memory.
type script struct{ *engine.Script }

func (s script) key() hashKey { return hashKey{s.Workspace, s.Hash} }
func (s script) at() string   { return s.Path }

func (s script) size() int {
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
func (m *memory[V]) drop(name string, all bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.epoch++
	ws, path, ok := strings.Cut(name, "/")
	if all || !ok {
		m.reset()
		return
	}
	for k, e := range m.hashes {
		if k.ws == ws && e.version.at() == path {
			m.remove(k)
		}
	}
}

func (m *memory[V]) enable(on bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.on = on
	m.epoch++
	m.reset()
}

func (m *memory[V]) reset() {
	clear(m.paths)
	clear(m.hashes)
	m.bytes = 0
}
