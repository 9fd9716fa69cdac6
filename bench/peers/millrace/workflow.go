package main

import (
	"encoding/json"
	"errors"
	"fmt"
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
	// Three steps in one function, each stored before the next begins: what a workflow of most peers is.
	"steps": `from wmill import step, workflow

@workflow
async def main(n: int):
    a = await step("a", lambda: n + 1)
    b = await step("b", lambda: a + 1)
    return await step("c", lambda: b + 1)
`,
	"mark": `import socket

def main(i: int, port: int):
    with socket.create_connection(("127.0.0.1", port)) as s:
        s.sendall(b"%d\n" % i)
        s.recv(1)
`,
}

// networks are those of scripts that want another than usual: mark talks to the driver.
var networks = map[string]string{"mark": "host"}

// fiboLengths are the flows that are deployed.
var fiboLengths = []int{1, 3, 10, 40}

func fiboFlow(n int) string { return fmt.Sprintf("fibo_%d", n) }

// flows are deployed with the scripts.
func (l lane) flows() (map[string]json.RawMessage, error) {
	out := map[string]json.RawMessage{}
	var err error
	put := func(name string, value []byte, failed error) { out[name], err = value, errors.Join(err, failed) }
	for _, n := range fiboLengths {
		value, err := l.fibo(n)
		put(fiboFlow(n), value, err)
	}
	value, failed := l.fan()
	put("fan", value, failed)
	return out, err
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

// fan is a parallel loop over 0 .. n-1; its result is the list of results.
func (l lane) fan() ([]byte, error) {
	loop := object{"type": "forloopflow", "parallel": true, "skip_failures": false,
		"iterator": expression("Array.from({length: flow_input.n}, (_, i) => i)"),
		"modules":  []object{l.module("each", "empty", object{"n": expression("flow_input.iter.value")})}}
	return json.Marshal(object{"modules": []object{{"id": "loop", "value": loop}}})
}
