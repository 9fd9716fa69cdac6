package cached_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/cached"
)

func TestKey(t *testing.T) {
	t.Parallel()
	job := func(source, args string) *engine.Job {
		return &engine.Job{Workspace: "main", Kind: engine.KindPreview, Source: source, Args: json.RawMessage(args)}
	}
	same := func(a, b *engine.Job, anyPath bool) bool {
		return bytes.Equal(cached.Key(a, anyPath), cached.Key(b, anyPath))
	}
	if !same(job("x", `{"a": 1, "b": [2]}`), job("x", `{"b":[2],"a":1}`), false) {
		t.Error("the order of arguments matters")
	}
	for _, other := range []*engine.Job{job("y", `{"a":1}`), job("x", `{"a":1.5}`), job("x", `{"a":"1"}`), {Workspace: "other", Kind: engine.KindPreview, Source: "x",
		Args: json.RawMessage(`{"a":1}`)}} {
		if same(job("x", `{"a":1}`), other, false) {
			t.Errorf("%+v is the same", other)
		}
	}
	one, two := job("x", `{"f":{"s3":"a/b","etag":"1"}}`), job("x", `{"f":{"s3":"c","etag":"1"}}`)
	if same(one, two, false) || !same(one, two, true) || same(one, job("x", `{"f":{"s3":"c","etag":"2"}}`), true) {
		t.Error("paths of files")
	}
	if same(job("x", `{"f":{"s3":"a"}}`), job("x", `{"f":{"s3":"b"}}`), true) {
		t.Error("files of which nothing is known are the same")
	}
}
