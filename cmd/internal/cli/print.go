package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// IsTerminal tells whether a person looks at w.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// printJSON writes v as one indented JSON value.
func (c *call) printJSON(v any) error {
	e := json.NewEncoder(c.stdout)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

// printResult writes a job's result: as it came, except that a person gets it indented.
func (c *call) printResult(result []byte) error {
	var b bytes.Buffer
	if !IsTerminal(c.stdout) || json.Indent(&b, result, "", "  ") != nil {
		b.Reset()
		b.Write(result)
	}
	b.WriteByte('\n')
	if _, err := c.stdout.Write(b.Bytes()); err != nil {
		return fmt.Errorf("print the result: %w", err)
	}
	return nil
}

// table prints rows in columns under a head; empty says what it means when there are none.
func (c *call) table(empty string, head []string, rows [][]string) {
	if len(rows) == 0 {
		fmt.Fprintln(c.stderr, empty)
		return
	}
	width := make([]int, len(head))
	all := append([][]string{head}, rows...)
	for _, row := range all {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range all {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(cell)
			line.WriteString(strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell)+2))
		}
		fmt.Fprintln(c.stdout, strings.TrimRight(line.String(), " "))
	}
}

// moment shows a time to a person.
func moment(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }

func momentOr(t *time.Time, or string) string {
	if t == nil {
		return or
	}
	return moment(*t)
}

func millis(d float64) string { return fmt.Sprintf("%.1f ms", d) }

// firstLine shortens a text for a table.
func firstLine(s string) string {
	line, _, more := strings.Cut(strings.TrimSpace(s), "\n")
	if runes := []rune(line); len(runes) > 60 {
		line, more = string(runes[:60]), true
	}
	if more {
		line += "..."
	}
	return line
}
