package flow

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/millrace/millrace/engine/flow/format"
)

// longest is the longest time that a step may sleep or run: more is a mistake in an expression.
const longest = 366 * 24 * time.Hour

// seconds reads an input that is a time.
func (s *stepper) seconds(in *format.Input, field string) (time.Duration, error) {
	f, err := s.number(in, s.look(field))
	return seconds(f), err
}

func seconds(f float64) time.Duration {
	return time.Duration(math.Max(0, math.Min(f, longest.Seconds())) * float64(time.Second))
}

func (s *stepper) amount(a *format.Amount, l Look) (float64, error) {
	if a.Number != nil {
		return *a.Number, nil
	}
	return s.number(a.Input, l)
}

func (s *stepper) number(in *format.Input, l Look) (float64, error) {
	v, err := s.eval.Value(in, l)
	if err != nil {
		return 0, err
	}
	if v = bytes.TrimSpace(v); len(v) == 0 || string(v) == "null" {
		return 0, nil
	}
	var f float64
	if err := json.Unmarshal(v, &f); err != nil {
		return 0, fmt.Errorf("it must be a number, not %.40s", v)
	}
	return f, nil
}

// wholeInput gives a job the arguments of the flow.
func (s *stepper) wholeInput(e *Start, l Look) error {
	v, err := s.eval.Value(format.Expression("flow_input"), l)
	if err != nil {
		return err
	}
	return json.Unmarshal(v, &e.Args)
}
