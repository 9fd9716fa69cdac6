package expr

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"
)

// FuzzCompile looks for sources that break the compiler or the analysis, and for ones that run although they are none.
func FuzzCompile(f *testing.F) {
	for _, c := range cases {
		f.Add(c.expr)
	}
	for _, c := range hostile {
		f.Add(c.expr)
	}
	f.Fuzz(func(t *testing.T, source string) {
		p, err := Compile(source)
		var bad *Error
		if err != nil && (!errors.As(err, &bad) || bad.Reason != Syntax) {
			t.Fatalf("error %v, want one of syntax", err)
		}
		if err != nil {
			return
		}
		for _, r := range p.Reads() {
			if !isName(r.Name) && !isFunction(r.Name) {
				t.Errorf("reads %q", r.Name)
			}
		}
	})
}

// FuzzTame runs what is taken for tame in this process: it ends soon, gives JSON, and is what a fresh engine says.
func FuzzTame(f *testing.F) {
	for _, c := range cases {
		f.Add(c.expr)
	}
	shared := New(Config{})
	f.Fuzz(func(t *testing.T, source string) {
		p, err := Compile(source)
		if err != nil || !p.Tame() {
			return
		}
		begin := time.Now()
		got, err := shared.Run(context.Background(), p, scope())
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("took %v", took)
		}
		if err == nil && !json.Valid(got) {
			t.Errorf("gave %s", got)
		}
		fresh, freshErr := New(Config{}).Run(context.Background(), p, scope())
		if (err == nil) != (freshErr == nil) || string(got) != string(fresh) {
			t.Errorf("gave %s, %v; on a fresh engine %s, %v", got, err, fresh, freshErr)
		}
	})
}

// FuzzPath compares the reader of raw JSON with a decoder.
func FuzzPath(f *testing.F) {
	f.Add([]byte(`{"a": {"b": [1, "x\"y", {"c": null}]}, "a\u0062": 1}`), "b")
	f.Add([]byte(`[[], {}, "\\", -1e5 ]`), "2")
	f.Add([]byte(`"text"`), "length")
	f.Fuzz(func(t *testing.T, raw []byte, name string) {
		value, ok, sure := property(raw, name) // must not panic whatever it is given
		if !json.Valid(raw) || !sure {
			return
		}
		var v any
		if err := json.Unmarshal(raw, &v); err != nil {
			return
		}
		switch v := v.(type) {
		case map[string]any:
			want, has := v[name]
			var got any
			if has != ok || ok && (json.Unmarshal(value, &got) != nil || string(mustMarshal(got)) != string(mustMarshal(want))) {
				t.Errorf("%s . %q is %s, %v, want %v, %v", raw, name, value, ok, want, has)
			}
		case []any:
			if n := length(raw); n != len(v) {
				t.Errorf("%s has %d items, want %d", raw, n, len(v))
			}
			for i := range v {
				var got any
				if one, ok := item(raw, i); !ok || json.Unmarshal(one, &got) != nil || string(mustMarshal(got)) != string(mustMarshal(v[i])) {
					t.Errorf("item %d of %s is %s", i, raw, one)
				}
			}
		}
	})
}
