package queue

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/runtimes/jsontext"
)

var errLost = errors.New("the connection was lost")

func unavailable(err error) error {
	return &engine.Error{Code: engine.Unavailable, Op: "queue.write", Msg: "the database cannot be reached", Hint: "try again", Err: err}
}

// checkJSON says what keeps b from being stored; "" when nothing does. Postgres keeps the text as it is, but could neither
// search nor compare a value with a NUL in it.
func checkJSON(b []byte) string {
	switch {
	case !utf8.Valid(b):
		return "is not valid UTF-8"
	case !jsontext.Valid(b):
		return "is not valid JSON"
	case hasNUL(b):
		return `contains \u0000, which Postgres cannot store`
	}
	return ""
}

// hasNUL finds the escape \u0000 in JSON text: preceded by an even number of backslashes, or it is text that looks like one.
func hasNUL(b []byte) bool {
	esc := []byte(`\u0000`)
	for from := 0; ; {
		i := bytes.Index(b[from:], esc)
		if i < 0 {
			return false
		}
		i += from
		slashes := 0
		for i-slashes > 0 && b[i-slashes-1] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			return true
		}
		from = i + len(esc)
	}
}

// checkJob verifies what cannot be stored or would break the queue.
func (q *Queue) checkJob(j *engine.Job) error {
	invalid := func(format string, args ...any) error {
		return &engine.Error{Code: engine.Invalid, Op: "job.push", Path: j.Path, Msg: fmt.Sprintf(format, args...)}
	}
	if j.Workspace == "" || j.Tag == "" || j.Kind == "" {
		return invalid("a job needs a workspace, a kind and a tag")
	}
	if len(j.Args) > q.cfg.MaxPayload {
		return &engine.Error{Code: engine.TooLarge, Op: "job.push", Path: j.Path,
			Msg: fmt.Sprintf("the arguments have %d bytes, %d are allowed", len(j.Args), q.cfg.MaxPayload)}
	}
	if len(j.Args) > 0 {
		if problem := checkJSON(j.Args); problem != "" {
			return invalid("the arguments: the text %s", problem)
		}
	}
	if len(j.Tag) > 100 || strings.ContainsFunc(j.Tag, func(r rune) bool { return r < ' ' }) {
		return invalid("%q cannot be a tag: at most 100 bytes, no control characters", j.Tag)
	}
	if len(j.IdempotencyKey) > 1000 {
		return invalid("the idempotency key has %d bytes, 1000 are allowed", len(j.IdempotencyKey))
	}
	texts := []string{j.Workspace, string(j.Kind), j.Path, j.Language, j.Source, j.Tag, j.CreatedBy, j.Email, j.PermissionedAs,
		j.IdempotencyKey, j.Network, j.Trigger, j.TriggerPath}
	if j.Lock != nil {
		texts = append(texts, *j.Lock)
	}
	for _, s := range texts {
		if strings.IndexByte(s, 0) >= 0 {
			return invalid("a text contains a NUL byte, which Postgres cannot store")
		}
		if !utf8.ValidString(s) {
			return invalid("a text is not valid UTF-8")
		}
	}
	return nil
}

// failure is the result of a job that failed for a reason of the queue's own.
func failure(name, message string) json.RawMessage {
	var r struct {
		Error struct {
			Name    string `json:"name"`
			Message string `json:"message"`
		} `json:"error"`
	}
	r.Error.Name, r.Error.Message = name, message
	b, err := json.Marshal(r)
	if err != nil {
		panic(err) // two strings
	}
	return b
}

// clean makes a text storable.
func clean(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}
