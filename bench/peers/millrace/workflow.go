package main

import (
	"encoding/json"
	"fmt"
	"strings"
)

// The scripts. A lane deploys them under its own folder, dedicated or not.
var sources = map[string]string{
	"empty": "def main(n: int):\n    return n + 1\n",
	"fibo": `import time

def fibo(n):
    return n if n < 2 else fibo(n - 1) + fibo(n - 2)

def main(k: int, so_far: dict):
    began = time.time_ns() / 1000
    values = so_far["values"] + [fibo(k)]
    return {"values": values, "times": so_far["times"] + [[began, time.time_ns() / 1000]]}
`,
	"payload": "def main(text: str):\n    return text\n",
}

type object = map[string]any

func (l lane) module(id, script string, inputs object) object {
	return object{"id": id, "value": object{"type": "script", "path": l.path(script), "input_transforms": inputs}}
}

func expression(text string) object { return object{"type": "javascript", "expr": text} }

// fibo is n steps, one after the other, each a job of its own that appends to what it was given: a number, and
// when it began and ended to compute it.
func (l lane) fibo(n int) ([]byte, error) {
	modules := make([]object, n)
	before := object{"type": "static", "value": object{"values": []int{}, "times": []int{}}}
	for i := range modules {
		id := fmt.Sprintf("s%d", i)
		modules[i] = l.module(id, "fibo", object{"k": expression("flow_input.k"), "so_far": before})
		before = expression("results." + id)
	}
	return json.Marshal(object{"modules": modules})
}

// steps is three steps that each add one.
func (l lane) steps() ([]byte, error) {
	return json.Marshal(object{"modules": []object{
		l.module("a", "empty", object{"n": expression("flow_input.n")}),
		l.module("b", "empty", object{"n": expression("results.a")}),
		l.module("c", "empty", object{"n": expression("results.b")}),
	}})
}

// fan is a parallel loop over 0 .. n-1; its result is the list of results.
func (l lane) fan(n int) ([]byte, error) {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprint(i)
	}
	loop := object{"type": "forloopflow", "parallel": true, "skip_failures": false,
		"iterator": object{"type": "static", "value": json.RawMessage("[" + strings.Join(list, ",") + "]")},
		"modules":  []object{l.module("each", "empty", object{"n": expression("flow_input.iter.value")})}}
	return json.Marshal(object{"modules": []object{{"id": "loop", "value": loop}}})
}
