package execute

import (
	"bytes"
	"encoding/json"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/runtimes"
)

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
func scriptEnv(s *engine.Script) runtimes.Env {
	raw, ok := s.Extra["envs"]
	if !ok {
		return nil
	}
	var list []string
	if json.Unmarshal(raw, &list) != nil {
		return nil
	}
	out := make(runtimes.Env, 0, len(list))
	for _, kv := range list {
		if k, val, ok := bytes.Cut([]byte(kv), []byte("=")); ok && len(k) > 0 {
			out.Set(string(k), string(val))
		}
	}
	return out
}
