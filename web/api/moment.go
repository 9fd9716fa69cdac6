package api

import (
	"reflect"
	"strings"
	"time"
)

// tellable tells whether a time can be told in an answer: RFC 3339 has four digits for the year, and answers are in UTC.
func tellable(t time.Time) bool {
	year := t.UTC().Year()
	return year >= 1 && year <= 9999
}

// moments refuses a decoded body with a time among its fields that no answer could tell. v is a pointer; what points to no struct has none.
func moments(v any) error {
	s := reflect.ValueOf(v).Elem()
	if s.Kind() != reflect.Struct {
		return nil
	}
	for i := range s.NumField() {
		if !s.Field(i).CanInterface() {
			continue
		}
		t, ok := s.Field(i).Interface().(time.Time)
		if p, is := s.Field(i).Interface().(*time.Time); is && p != nil {
			t, ok = *p, true
		}
		if ok && !tellable(t) {
			name, _, _ := strings.Cut(s.Type().Field(i).Tag.Get("json"), ",")
			return invalid("%s must be a time of the years 1 to 9999, in UTC", name)
		}
	}
	return nil
}
