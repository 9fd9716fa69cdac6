package runtimes

import (
	"bytes"
	"encoding/json"
)

// OutputResult is the result of a program that does not speak frames (ResultOutput): the collected file, which must be JSON,
// if there is one, else the last non-empty line of output as a string, null when there is no output.
func OutputResult(collected []byte, ok bool, output []byte) (json.RawMessage, *Failure) {
	if ok {
		b := bytes.TrimSpace(collected)
		if !json.Valid(b) {
			return nil, &Failure{Name: "InvalidResult", Message: "the result file is not valid JSON: " + clip(b)}
		}
		return b, nil
	}
	line := bytes.TrimRight(output, "\r\n \t")
	if i := bytes.LastIndexByte(line, '\n'); i >= 0 {
		line = line[i+1:]
	}
	if len(line) == 0 {
		return json.RawMessage("null"), nil
	}
	b, err := json.Marshal(string(bytes.ToValidUTF8(line, []byte("\uFFFD"))))
	if err != nil {
		return nil, &Failure{Name: "InvalidResult", Message: err.Error()}
	}
	return b, nil
}

func clip(b []byte) string {
	const most = 200
	if len(b) > most {
		return string(bytes.ToValidUTF8(b[:most], nil)) + "..."
	}
	return string(bytes.ToValidUTF8(b, nil))
}
