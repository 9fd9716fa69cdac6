package expr

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync/atomic"
	"time"

	"github.com/dop251/goja"
	"github.com/dop251/goja/parser"
)

// machine is a JavaScript engine. One goroutine uses it at a time.
type machine struct {
	vm        *goja.Runtime
	parse     goja.Callable
	stringify goja.Callable
	struck    atomic.Pointer[strike] // nil: it was not interrupted
}

// strike is an interrupt.
type strike struct {
	at  time.Time
	why error
}

// callDepth is how deep functions may call each other.
const callDepth = 400

func newMachine() (*machine, error) {
	vm := goja.New()
	vm.SetMaxCallStackSize(callDepth)
	vm.SetParserOptions(parser.WithDisableSourceMaps)
	m := &machine{vm: vm}
	object := vm.Get("JSON").ToObject(vm)
	var ok, also bool
	m.parse, ok = goja.AssertFunction(object.Get("parse"))
	m.stringify, also = goja.AssertFunction(object.Get("stringify"))
	if !ok || !also {
		return nil, errors.New("make a JavaScript engine: it has no JSON")
	}
	return m, nil
}

// fetcher gets what a program asks for while it runs.
type fetcher func(Ref) (json.RawMessage, error)

// Reasons to interrupt a machine.
var (
	errTime   = errors.New("ran longer than it may")
	errMemory = errors.New("took more memory than it may")
)

// interrupt makes a running program end with one of the reasons above.
func (m *machine) interrupt(why error) {
	m.struck.CompareAndSwap(nil, &strike{at: time.Now(), why: why})
	m.vm.Interrupt(why)
}

// run is one evaluation.
type run struct {
	*machine
	program *Program
	fetch   fetcher
	refused error // what fetch said when it failed
}

// run evaluates a program and returns the JSON of its value. The error is an *Error.
func (m *machine) run(p *Program, in input, fetch fetcher) (raw json.RawMessage, err error) {
	r := &run{machine: m, program: p, fetch: fetch}
	defer func() {
		if problem := recover(); problem != nil { // the engine's own: it does not happen, but must not end a daemon
			raw, err = nil, &Error{Reason: Engine, Expr: p.source, Msg: fmt.Sprintf("the JavaScript engine failed: %v", problem)}
		}
		m.vm.ClearInterrupt()
	}()
	value, err := r.value(in)
	if err != nil {
		return nil, r.failure(err)
	}
	if value, err = r.settled(value); err != nil {
		return nil, err
	}
	if goja.IsUndefined(value) || goja.IsNull(value) {
		return json.RawMessage("null"), nil
	}
	text, err := m.stringify(goja.Undefined(), value)
	if err != nil {
		return nil, r.failure(err)
	}
	if goja.IsUndefined(text) { // a function, a symbol
		return json.RawMessage("null"), nil
	}
	return json.RawMessage(text.String()), nil
}

func (r *run) value(in input) (goja.Value, error) {
	function, err := r.vm.RunProgram(r.program.code)
	if err != nil {
		return nil, err
	}
	call, ok := goja.AssertFunction(function)
	if !ok {
		return nil, errors.New("it is not a function")
	}
	arguments := make([]goja.Value, len(r.program.params))
	for i, name := range r.program.params {
		if arguments[i], err = r.argument(name, in[name]); err != nil {
			return nil, err
		}
	}
	return call(goja.Undefined(), arguments...)
}

func (r *run) argument(name string, raw json.RawMessage) (goja.Value, error) {
	switch {
	case isFunction(name):
		return r.vm.ToValue(func(c goja.FunctionCall) goja.Value { return r.lookup(Ref{Name: name, Key: c.Argument(0).String()}) }), nil
	case raw != nil:
		return r.decode(raw)
	case name == Results:
		return r.vm.NewDynamicObject(&results{run: r, seen: map[string]goja.Value{}}), nil
	}
	return goja.Undefined(), nil
}

func (r *run) decode(raw json.RawMessage) (goja.Value, error) {
	switch string(raw) { // the commonest small ones
	case "null":
		return goja.Null(), nil
	case "true", "false":
		return r.vm.ToValue(raw[0] == 't'), nil
	}
	return r.parse(goja.Undefined(), r.vm.ToValue(string(raw)))
}

// lookup fetches in the middle of a run; what fails there is thrown.
func (r *run) lookup(ref Ref) goja.Value {
	raw, err := r.fetch(ref)
	if err != nil {
		r.refused = err
		panic(r.vm.NewGoError(err))
	}
	if raw == nil {
		if ref.Name == Results {
			return goja.Null()
		}
		return goja.Undefined()
	}
	value, err := r.decode(raw)
	if err != nil {
		panic(r.vm.NewGoError(err))
	}
	return value
}

// settled waits for a promise, which no timer and no network will settle later: it is settled now or never.
func (r *run) settled(value goja.Value) (goja.Value, error) {
	for range 100 { // a promise never holds a promise, an object that looks like one might
		o, ok := value.(*goja.Object)
		if !ok || o.ExportType() != promiseType {
			return value, nil
		}
		promise, ok := o.Export().(*goja.Promise)
		if !ok {
			return value, nil
		}
		switch promise.State() {
		case goja.PromiseStateFulfilled:
			value = promise.Result()
		case goja.PromiseStateRejected:
			return nil, r.thrown(promise.Result(), nil)
		default:
			return nil, &Error{Reason: Unsettled, Expr: r.program.source, Msg: "waits for a promise that nothing settles"}
		}
	}
	return value, nil
}

var promiseType = reflect.TypeFor[*goja.Promise]()

// failure turns what the engine says into an *Error with the place.
func (r *run) failure(err error) error {
	var interrupted *goja.InterruptedError
	var exception *goja.Exception
	var overflow *goja.StackOverflowError
	switch {
	case errors.As(err, &interrupted):
		e := &Error{Reason: TooLong, Expr: r.program.source, Msg: fmt.Sprint(interrupted.Value()), Pos: r.where(interrupted.Stack())}
		if interrupted.Value() == errMemory {
			e.Reason = TooMuch
		}
		return e
	case errors.As(err, &overflow):
		return &Error{Reason: TooMuch, Expr: r.program.source, Msg: "calls itself too deep", Pos: r.where(overflow.Stack())}
	case errors.As(err, &exception):
		return r.thrown(exception.Value(), exception.Stack())
	}
	return &Error{Reason: Engine, Expr: r.program.source, Msg: err.Error()}
}

func (r *run) thrown(value goja.Value, stack []goja.StackFrame) error {
	e := &Error{Reason: Thrown, Expr: r.program.source, Msg: message(value), Pos: r.where(stack)}
	if r.refused != nil && strings.Contains(e.Msg, r.refused.Error()) {
		e.Reason, e.Err, e.Msg = NotGiven, r.refused, r.refused.Error()
	}
	return e
}

// message is what was thrown, as text, without running any of the expression's own code.
func message(value goja.Value) string {
	const most = 2000
	text := "threw"
	if o, ok := value.(*goja.Object); ok {
		if s := field(o, "message"); s != "" {
			text = s
			if name := field(o, "name"); name != "" && name != "GoError" {
				text = name + ": " + s
			}
		}
	} else if value != nil {
		text = "threw " + value.String()
	}
	if r := []rune(text); len(r) > most {
		text = string(r[:most]) + "..."
	}
	return text
}

// field returns a string property of a thrown object.
func field(o *goja.Object, name string) (text string) {
	defer func() { _ = recover() }() // a getter may throw
	if s, ok := o.Get(name).(goja.String); ok {
		return s.String()
	}
	return ""
}

// where is the innermost place in the expression itself.
func (r *run) where(stack []goja.StackFrame) Pos {
	for _, frame := range stack {
		if frame.SrcName() == unit {
			return r.program.pos(frame.Position())
		}
	}
	return Pos{}
}

// results gives the results of steps one by one, for expressions such as results[flow_input.which].
type results struct {
	*run
	seen map[string]goja.Value
}

// Get implements goja.DynamicObject.
func (o *results) Get(id string) goja.Value {
	if _, ok := o.seen[id]; !ok {
		o.seen[id] = o.lookup(Ref{Name: Results, Key: id})
	}
	return o.seen[id]
}

// Set implements goja.DynamicObject.
func (*results) Set(string, goja.Value) bool { return false }

// Has implements goja.DynamicObject.
func (*results) Has(string) bool { return true }

// Delete implements goja.DynamicObject.
func (*results) Delete(string) bool { return false }

// Keys implements goja.DynamicObject. Which steps there are is not known here.
func (*results) Keys() []string { return nil }
