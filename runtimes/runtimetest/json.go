package runtimetest

import (
	"bytes"
	"encoding/json"
	"reflect"
)

// SameJSON says whether a and b are the same value. Numbers are compared as written, so that a big integer that lost its last
// digits is noticed; 1.0 and 1 differ.
func SameJSON(a, b []byte) bool {
	x, errX := decode(a)
	y, errY := decode(b)
	return errX == nil && errY == nil && reflect.DeepEqual(x, y)
}

func decode(b []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	err := d.Decode(&v)
	return v, err
}
