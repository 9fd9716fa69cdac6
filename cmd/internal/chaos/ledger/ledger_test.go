package ledger

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/uuid"
)

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a")
	w, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	id := uuid.New()
	want := []Record{
		{Kind: Worker, Worker: 7, At: 1}, {Kind: Intent, ID: id}, {Kind: Pushed, ID: id, At: 2},
		{Kind: Error, ID: id, Text: `unavailable the disk is full`}, {Kind: Claimed, ID: id, Worker: 7, Attempt: 2, At: 3},
		{Kind: Finished, ID: id, Worker: 7, Attempt: 2, Asked: 4, At: 5, Text: `{"a b":1}`},
		{Kind: Refused, ID: id, Worker: 7, Attempt: 1, Asked: 6, At: 7}, {Kind: Answered, ID: id, At: 8, Text: "null"},
	}
	for _, r := range want {
		if err := w.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	torn(t, path, "P "+id.String()+" 12")
	var got []Record
	if err := Read(path, func(r Record) { got = append(got, r) }); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, want) {
		t.Fatalf("got  %+v\nwant %+v", got, want)
	}
	torn(t, path, "\n")
	torn(t, path, "F nonsense\n")
	if err := Read(path, func(Record) {}); err == nil {
		t.Fatal("a line that is no record was taken")
	}
}

// torn appends what a killed process may have left.
func torn(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}
