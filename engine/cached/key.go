// Package cached names results by what they depend on: the code of a job and its arguments. It keeps nothing itself.
package cached

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"

	"github.com/millrace/millrace/engine"
)

// Key is the same for jobs that run the same code in the same workspace with the same arguments, whatever the order of their keys.
// anyPath: files in object storage that say what their content is (etag) are the same wherever they lie.
func Key(j *engine.Job, anyPath bool) []byte {
	h := sha256.New()
	lock := ""
	if j.Lock != nil {
		lock = *j.Lock
	}
	for _, part := range [][]byte{[]byte(j.Workspace), []byte(j.Kind), []byte(j.Path), []byte(j.Hash.String()), []byte(j.Language), []byte(j.Source),
		[]byte(lock), []byte(j.PermissionedAs), arguments(j.Args, anyPath)} {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write(part)
	}
	return h.Sum(nil)
}

func arguments(args json.RawMessage, anyPath bool) []byte {
	d := json.NewDecoder(bytes.NewReader(args))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return args
	}
	if anyPath {
		v = pathless(v)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return args
	}
	return b
}

// pathless leaves out where files lie that say what is in them.
func pathless(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = pathless(v[i])
		}
	case map[string]any:
		if _, file := v["s3"].(string); file && v["etag"] != nil {
			delete(v, "s3")
			delete(v, "storage")
			delete(v, "presigned")
		}
		for k := range v {
			v[k] = pathless(v[k])
		}
	}
	return v
}
