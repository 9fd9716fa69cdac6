package frame

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/millrace/millrace/runtimes"
)

func TestRequestRoundTrip(t *testing.T) {
	want := Request{
		Source: []byte("def main(): pass"),
		Path:   "u/ann/etl",
		Entry:  "main",
		Env:    runtimes.Env{{Name: "A", Value: "quote \" back \\ line\n tab\t is= é 漢 \u2028"}, {Name: "WM_TOKEN", Value: ""}},
		Args:   json.RawMessage(`{"n":1}`),
	}
	b, err := want.AppendTo(nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ReadRequest(NewReader(iotest.OneByteReader(bytes.NewReader(b))))
	if err != nil {
		t.Fatal(err)
	}
	if string(got.Source) != string(want.Source) || got.Path != want.Path || got.Entry != want.Entry ||
		string(got.Args) != string(want.Args) || !slices.Equal(got.Env, want.Env) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// TestVariablesThatNoProcessCanHave are left out, and the others stay.
func TestVariablesThatNoProcessCanHave(t *testing.T) {
	q := Request{Env: runtimes.Env{{Name: "", Value: "a"}, {Name: "B=C", Value: "b"}, {Name: "D\x00", Value: "c"}, {Name: "E", Value: "\x00"},
		{Name: "F", Value: "\xffe"}}}
	b, err := q.AppendTo(nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ReadRequest(NewReader(bytes.NewReader(b)))
	if want := (runtimes.Env{{Name: "F", Value: "\uFFFDe"}}); err != nil || !slices.Equal(got.Env, want) {
		t.Errorf("got %q, %v, want %q", got.Env, err, want)
	}
	for _, bad := range []string{"A\x00", "=a\x00"} {
		if _, err := ReadRequest(NewReader(bytes.NewReader(Append(nil, Env, bad)))); err == nil {
			t.Errorf("%q is taken for a variable", bad)
		}
	}
}

func TestEmptyRequestIsArgsOnly(t *testing.T) {
	b, err := new(Request).AppendTo(nil)
	if err != nil || string(b) != "A\x02\x00\x00\x00{}" {
		t.Errorf("got %q, %v", b, err)
	}
}

func TestRequestTooLarge(t *testing.T) {
	q := Request{Args: make([]byte, MaxPayload+1)}
	if b, err := q.AppendTo(nil); !errors.Is(err, ErrTooLarge) || len(b) != 0 {
		t.Errorf("got %d bytes, %v", len(b), err)
	}
}

func TestReplies(t *testing.T) {
	var b []byte
	b = Append(b, Ready, "")
	b = Append(b, Chunk, "one")
	b = Append(b, Result, `{"a":1}`)
	b = AppendFailure(b, &runtimes.Failure{Name: "Boom", Message: "m", Stack: "s", Extra: json.RawMessage(`{"k":1}`)})
	b = Append(b, Ask, `{"op":"open"}`)
	b = Append(b, Result, "nope")
	b = Append(b, Result, "\"\xff\"")
	b = Append(b, Failure, "[")
	b = Append(b, Failure, `{"message":"m","extra":null}`)
	b = Append(b, Args, "{}")
	r := NewReader(bytes.NewReader(b))
	var got []string
	var first Reply
	for range 9 {
		p, err := r.Reply()
		if err != nil {
			t.Fatal(err)
		}
		line := string(p.Type) + " " + string(p.Data)
		if p.Failure != nil {
			line += p.Failure.Error() + " " + string(p.Failure.Extra)
		}
		got = append(got, line)
		if p.Type == Chunk {
			first = p
		}
	}
	want := []string{"Y ", "T one", `R {"a":1}`, `E Boom: m {"k":1}`, `W {"op":"open"}`,
		`E InvalidResult: the result is not valid JSON: "nope" `,
		`E InvalidResult: the result is not valid JSON: "\"` + "\uFFFD" + `\"" `,
		`E Error: the job sent an error that cannot be read: "[" `, "E Error: m "}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if string(first.Data) != "one" {
		t.Errorf("a chunk was overwritten by later frames: %q", first.Data)
	}
	if _, err := r.Reply(); !errors.Is(err, ErrType) {
		t.Errorf("args from a job: got %v", err)
	}
	if _, err := r.Reply(); err != io.EOF {
		t.Errorf("at the end: got %v", err)
	}
}

func TestTruncated(t *testing.T) {
	whole := Append(nil, Result, "12345678")
	for n := 1; n < len(whole); n++ {
		if _, _, err := NewReader(bytes.NewReader(whole[:n])).Next(); err != io.ErrUnexpectedEOF {
			t.Errorf("%d bytes: got %v", n, err)
		}
	}
}

func TestHostileLength(t *testing.T) {
	over := AppendHeader(nil, Result, MaxPayload+1)
	if _, _, err := NewReader(bytes.NewReader(over)).Next(); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v", err)
	}
	promise := append(AppendHeader(nil, Result, MaxPayload), "few"...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, _, err := NewReader(bytes.NewReader(promise)).Next(); err != io.ErrUnexpectedEOF {
		t.Errorf("got %v", err)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("a header that promises 64 MiB made the reader allocate %d bytes", n)
	}
}

func TestAllocations(t *testing.T) {
	q := Request{Source: []byte("x"), Path: "p", Entry: "main", Env: runtimes.Env{{Name: "A", Value: "b"}}, Args: json.RawMessage(`{}`)}
	buf := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() { buf, _ = q.AppendTo(buf[:0]) }); n != 0 {
		t.Errorf("AppendTo allocates %v times", n)
	}
	src := bytes.NewReader(nil)
	r := NewReader(src)
	in := Append(nil, Result, strings.Repeat("1", 1000))
	if n := testing.AllocsPerRun(100, func() {
		src.Reset(in)
		r.Reset(src)
		if _, _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("Next allocates %v times", n)
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte{})
	f.Add(Append(Append(nil, Chunk, "a"), Result, `{"a":[1,2]}`))
	f.Add(AppendFailure(nil, &runtimes.Failure{Name: "N", Message: "m"}))
	f.Add(AppendHeader(nil, Result, MaxPayload))
	f.Add([]byte("R\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, in []byte) {
		r, used := NewReader(bytes.NewReader(in)), 0
		for {
			kind, p, err := r.Next()
			if err != nil {
				break
			}
			if size := int(binary.LittleEndian.Uint32(in[used+1:])); in[used] != byte(kind) || size != len(p) {
				t.Fatalf("frame at %d: type %q, %d bytes", used, kind, len(p))
			}
			used += HeaderSize + len(p)
		}
		r = NewReader(bytes.NewReader(in))
		for {
			p, err := r.Reply()
			if err != nil {
				break
			}
			if p.Type == Result && !json.Valid(p.Data) {
				t.Fatalf("invalid result passed: %q", p.Data)
			}
			if (p.Type == Failure) != (p.Failure != nil) {
				t.Fatalf("a failure frame without failure: %+v", p)
			}
		}
	})
}

func FuzzEnv(f *testing.F) {
	f.Add("A", "b")
	f.Add("\x00\"\\", "\xff\u2028\U0001F600")
	f.Fuzz(func(t *testing.T, k, v string) {
		b, err := (&Request{Env: runtimes.Env{{Name: k, Value: v}}}).AppendTo(nil)
		if err != nil {
			t.Skip()
		}
		q, err := ReadRequest(NewReader(bytes.NewReader(b)))
		if err != nil {
			t.Fatal(err)
		}
		k, v = strings.ToValidUTF8(k, "\uFFFD"), strings.ToValidUTF8(v, "\uFFFD")
		for _, got := range q.Env { // ToValidUTF8 merges runs of bad bytes, the encoder does not
			if squeeze(got.Name) != squeeze(k) || squeeze(got.Value) != squeeze(v) {
				t.Fatalf("got %q, want %q=%q", got, k, v)
			}
		}
	})
}

func squeeze(s string) string {
	for strings.Contains(s, "\uFFFD\uFFFD") {
		s = strings.ReplaceAll(s, "\uFFFD\uFFFD", "\uFFFD")
	}
	return s
}

func BenchmarkRequest(b *testing.B) {
	q := Request{Source: bytes.Repeat([]byte("x"), 1000), Path: "u/a/b", Env: runtimes.Env{{Name: "WM_TOKEN", Value: "t"}, {Name: "WM_JOB_ID", Value: "i"}}, Args: json.RawMessage(`{"n":1}`)}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf, _ = q.AppendTo(buf[:0])
	}
}
