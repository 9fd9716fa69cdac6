package execute

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"sync"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/runtimes/signature"
)

// validators remembers compiled schemas by content.
type validators struct {
	mu    sync.RWMutex
	known map[[32]byte]*signature.Validator // guarded by mu; nil entries validate everything
}

// check verifies a job's arguments against its script's schema.
func (v *validators) check(schema json.RawMessage, j *engine.Job) error {
	if len(schema) == 0 {
		return nil
	}
	c := v.get(schema)
	if c == nil {
		return nil
	}
	args := j.Args
	if len(args) == 0 {
		args = json.RawMessage("{}")
	}
	return c.Check(args)
}

func (v *validators) get(schema json.RawMessage) *signature.Validator {
	key := sha256.Sum256(schema)
	v.mu.RLock()
	c, ok := v.known[key]
	v.mu.RUnlock()
	if ok {
		return c
	}
	c, err := signature.Compile(schema)
	if err != nil {
		c = nil // a schema that cannot be read, written by hand, must not keep its script from running
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.known == nil || len(v.known) > 4096 {
		v.known = map[[32]byte]*signature.Validator{}
	}
	v.known[key] = c
	return c
}

// checkJSON refuses results that the database could not give back.
func checkJSON(b []byte) error {
	nul := []byte(`\u0000`)
	for from := 0; ; {
		i := bytes.Index(b[from:], nul)
		if i < 0 {
			return nil
		}
		if i += from; !realEscape(b[:i]) {
			from = i + len(nul)
			continue
		}
		return &runtimes.Failure{Name: "InvalidResult", Message: "the result holds the character \\u0000, which cannot be stored; encode binary data as base64"}
	}
}

// realEscape reports whether the escape that follows b is one: `\\u0000` is a backslash and the text u0000.
func realEscape(b []byte) bool {
	n := 0
	for n < len(b) && b[len(b)-1-n] == '\\' {
		n++
	}
	return n%2 == 0
}

// scriptEnv reads the environment variables of a script: Windmill's envs are "KEY=value" strings.
func scriptEnv(s *engine.Script) map[string]string {
	raw, ok := s.Extra["envs"]
	if !ok {
		return nil
	}
	var list []string
	if json.Unmarshal(raw, &list) != nil {
		return nil
	}
	out := make(map[string]string, len(list))
	for _, kv := range list {
		if k, val, ok := bytes.Cut([]byte(kv), []byte("=")); ok && len(k) > 0 {
			out[string(k)] = string(val)
		}
	}
	return out
}
