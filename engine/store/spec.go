package store

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/millrace/millrace/engine"
)

// specKey is what jobs of one runnable, asked for by one person in one way, have in common.
type specKey struct {
	workspace, kind, tag, path, language, network, createdBy, email, permissionedAs, trigger, triggerPath string

	hash    engine.Hash
	timeout time.Duration
	prio    int16
	code    [sha256.Size]byte // of the source and lock of a flow's step; zero: they are not part of it
}

func specOf(j *engine.Job) specKey {
	return specKey{
		workspace: j.Workspace, kind: string(j.Kind), tag: j.Tag, path: j.Path, language: j.Language, network: j.Network,
		createdBy: j.CreatedBy, email: j.Email, permissionedAs: j.PermissionedAs, trigger: j.Trigger, triggerPath: j.TriggerPath,
		hash: j.Hash, timeout: j.Timeout, prio: j.Priority, code: codeOf(j),
	}
}

// inSpec tells whether the code of j is stored with its spec: a flow runs the same in each iteration, and in each of its runs.
func inSpec(j *engine.Job) bool { return j.Step != "" && j.Parent != nil && j.Source != "" }

func codeOf(j *engine.Job) (sum [sha256.Size]byte) {
	if !inSpec(j) {
		return sum
	}
	h := sha256.New()
	h.Write([]byte(j.Source))
	if j.Lock != nil {
		h.Write([]byte{0})
		h.Write([]byte(*j.Lock))
	}
	h.Sum(sum[:0])
	return sum
}

// sum is the name of a spec: the first half of sha256 over its fields, each with its length.
func (k *specKey) sum() (out [16]byte) {
	var b []byte
	for _, s := range [...]string{k.workspace, k.kind, k.tag, k.path, k.language, k.network, k.createdBy, k.email, k.permissionedAs,
		k.trigger, k.triggerPath} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	for _, n := range [...]int64{int64(k.hash), k.timeout.Milliseconds(), int64(k.prio)} {
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	if k.code != [sha256.Size]byte{} { // specs from before there was such a thing keep their names
		b = append(b, k.code[:]...)
	}
	full := sha256.Sum256(b)
	copy(out[:], full[:])
	return out
}

const (
	specsKept = 20_000         // in memory
	specFresh = 24 * time.Hour // after this a remembered spec is marked as used again
)

// specs remembers the numbers of specs.
type specs struct {
	mu   sync.RWMutex
	seen map[specKey]spec // guarded by mu
}

type spec struct {
	id     int32
	marked time.Time // when last_used was written
}

// Spec returns the number of what j has in common with other jobs; the first job of a kind makes it.
func (db *DB) Spec(ctx context.Context, j *engine.Job) (int32, error) {
	k := specOf(j)
	db.specs.mu.RLock()
	s, ok := db.specs.seen[k]
	db.specs.mu.RUnlock()
	if ok && time.Since(s.marked) < specFresh {
		return s.id, nil
	}
	s.marked = time.Now()
	sum := k.sum()
	var source, lock *string
	if inSpec(j) {
		source, lock = &j.Source, j.Lock
	}
	err := db.read(ctx, func() error { // doing it twice does no harm
		return db.pool.QueryRow(ctx, q("SpecEnsure"), sum, k.workspace, k.kind, k.tag, k.path, int64(k.hash), k.prio, k.timeout.Milliseconds(),
			k.language, k.network, k.createdBy, k.email, k.permissionedAs, k.trigger, k.triggerPath, source, lock).Scan(&s.id)
	})
	if err != nil {
		return 0, fmt.Errorf("store what runs: %w", err)
	}
	db.specs.mu.Lock()
	defer db.specs.mu.Unlock()
	if db.specs.seen == nil {
		db.specs.seen = map[specKey]spec{}
	}
	for old := range db.specs.seen {
		if len(db.specs.seen) < specsKept {
			break
		}
		delete(db.specs.seen, old) // whichever comes first
	}
	db.specs.seen[k] = s
	return s.id, nil
}

// SpecForget removes specs that have not been used for longer than age and of which no job is left.
func (db *DB) SpecForget(ctx context.Context, age time.Duration) (int64, error) {
	return db.count(ctx, "forget what ran", "SpecForget", age)
}
