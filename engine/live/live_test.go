package live

import "testing"

func TestTextKeepsOnlyWhatIsNotStored(t *testing.T) {
	t.Parallel()
	var x Text
	x.Append([]byte("hello "))
	x.Append([]byte("world"))
	off, p := x.Pending()
	if off != 0 || string(p) != "hello world" {
		t.Fatalf("pending %d %q", off, p)
	}
	x.Stored(6)
	x.Append([]byte("!"))
	if begin, p := x.From(0); begin != 6 || string(p) != "world!" {
		t.Fatalf("from 0: %d %q", begin, p)
	}
	if begin, p := x.From(8); begin != 8 || string(p) != "rld!" {
		t.Fatalf("from 8: %d %q", begin, p)
	}
	x.Stored(6)
	x.Stored(100)
	if x.Len() != 12 {
		t.Fatalf("len %d", x.Len())
	}
	if begin, p := x.From(12); begin != 12 || p != nil {
		t.Fatalf("from end: %d %q", begin, p)
	}
}

func TestLogsFindRunningJobsOnly(t *testing.T) {
	t.Parallel()
	l := New()
	id := [16]byte{1}
	j := l.Open(id)
	j.Log.Append([]byte("x"))
	if got, ok := l.Get(id); !ok || got != j {
		t.Fatal("open job not found")
	}
	l.Close(id)
	if _, ok := l.Get(id); ok {
		t.Fatal("closed job still there")
	}
}
