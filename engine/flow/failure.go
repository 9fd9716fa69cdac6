package flow

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/millrace/millrace/engine/flow/format"
)

// failure is the result of a step that failed, in the shape that every failure has.
func failure(name, message, step string) json.RawMessage {
	type inner struct {
		Name    string `json:"name"`
		Message string `json:"message"`
		Step    string `json:"step_id,omitempty"`
	}
	b, err := json.Marshal(struct {
		Error inner `json:"error"`
	}{inner{name, message, step}})
	if err != nil { // strings always can
		return json.RawMessage(`{"error":{"name":"InternalError","message":"an error could not be written"}}`)
	}
	return b
}

// broken is the failure of an expression of the module at work.
func (s *stepper) broken(field string, err error) Ref {
	id := ""
	if m := s.module(); m != nil {
		id = m.ID
	}
	return Ref{Value: failure("ExpressionError", field+": "+err.Error(), id)}
}

// stopped is the failure that a stop_after_if with a message stands for. A result that lies elsewhere is not copied into it: whoever
// stores the failure finds the step by its id.
func stopped(stop *format.StopIf, m *format.Module, result Ref) json.RawMessage {
	message := *stop.ErrorMessage
	if message == "" {
		message = "the flow was stopped after step " + m.ID
	}
	type inner struct {
		Name    string          `json:"name"`
		Message string          `json:"message"`
		Step    string          `json:"step_id"`
		Result  json.RawMessage `json:"result,omitempty"`
		From    *Ref            `json:"result_of,omitempty"`
	}
	e := inner{Name: "EarlyStopError", Message: message, Step: m.ID}
	if stop.ErrorIncludeResult {
		if e.Result = result.Value; e.Result == nil {
			e.From = &result
		}
	}
	b, err := json.Marshal(struct {
		Error inner `json:"error"`
	}{e})
	if err != nil {
		return failure(e.Name, message, m.ID)
	}
	return b
}

// elements reads a JSON list.
func elements(list json.RawMessage) ([]json.RawMessage, error) {
	if list = bytes.TrimSpace(list); len(list) == 0 || list[0] != '[' {
		return nil, fmt.Errorf("it must give a list, not %.40s", list)
	}
	out := []json.RawMessage{}
	if err := json.Unmarshal(list, &out); err != nil {
		return nil, fmt.Errorf("it gave a list that is not JSON: %w", err)
	}
	return out, nil
}

func orNull(v json.RawMessage) json.RawMessage {
	if v == nil {
		return json.RawMessage("null")
	}
	return v
}
