package api

import (
	"bytes"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/valyala/fasthttp"
)

// options reads query parameters one after the other and keeps the first error, so that a handler checks once.
type options struct {
	args *fasthttp.Args
	err  error // the first one; readers return zero values from then on
}

func (a *Ask) options() *options { return &options{args: a.QueryArgs()} }

func (o *options) fail(format string, args ...any) {
	if o.err == nil {
		o.err = invalid(format, args...)
	}
}

// text returns a parameter, "" when it is absent.
func (o *options) text(name string) string {
	b := o.args.Peek(name)
	if len(b) == 0 {
		return ""
	}
	if !utf8.Valid(b) || bytes.IndexByte(b, 0) >= 0 {
		o.fail("query parameter %s is not valid text", name)
		return ""
	}
	return string(b)
}

func (o *options) whole(name string, least, most int64) (n int64, given bool) {
	s := o.text(name)
	if s == "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < least || n > most {
		o.fail("query parameter %s must be a whole number from %d to %d", name, least, most)
		return 0, false
	}
	return n, true
}

func (o *options) flag(name string) (value, given bool) {
	s := o.text(name)
	if s == "" {
		return false, false
	}
	value, err := strconv.ParseBool(s)
	if err != nil {
		o.fail("query parameter %s must be true or false", name)
		return false, false
	}
	return value, true
}

func (o *options) on(name string) bool {
	value, _ := o.flag(name)
	return value
}

func (o *options) time(name string) time.Time {
	s := o.text(name)
	if s == "" {
		return time.Time{}
	}
	// The '+' of a zone arrives as a space when it was not escaped.
	t, err := time.Parse(time.RFC3339Nano, strings.Replace(s, " ", "+", 1))
	if err != nil || !tellable(t) {
		o.fail("query parameter %s must be a time like 2026-12-01T15:04:05Z", name)
		return time.Time{}
	}
	return t
}

func (o *options) id(name string) *uuid.UUID {
	s := o.text(name)
	if s == "" {
		return nil
	}
	id, err := parseID("query parameter "+name, s)
	if err != nil {
		o.fail("query parameter %s must be a UUID like 01890dd5-ea3f-8746-c3e1-d0b3a1d5e0a1", name)
		return nil
	}
	return &id
}

// list splits a comma separated parameter.
func (o *options) list(name string) []string {
	var out []string
	for _, s := range strings.Split(o.text(name), ",") {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, s)
		}
	}
	return out
}

// page reads page and per_page. zeroBased is for the lists that Windmill's command line counts from 0.
func (o *options) page(zeroBased bool) (page, perPage int) {
	least := int64(1)
	if zeroBased {
		least = 0
	}
	n, given := o.whole("page", 0, 1<<31)
	switch {
	case given && zeroBased:
		n++
	case n < least:
		n = 1 // page=0 is the first page too
	}
	per, given := o.whole("per_page", 0, 1<<31)
	if !given || per == 0 {
		per = 30
	}
	return int(n), int(min(per, 1000))
}
