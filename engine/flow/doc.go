// Package flow decides what a flow does next. It does no I/O and knows no clock: Step takes the definition, the state and what
// has happened, and returns the new state and what is to be done about it, so that a flow can be replayed from what was stored.
//
//	Step(Def, Run, Event, Eval) -> Run, []Effect
//
// A Run is one list of modules at work: the flow itself, the flow that a step runs, one iteration of a loop, one branch. Runs
// that belong to a module of another run are its items; the item that ends is an Event of the other run. A Run holds numbers and
// references only, never results: those stay where they were stored, and only an expression that reads one fetches it.
//
//	         Begin                                         Ended
//	ready ----------> [preprocessor] -> module 0 -> ... --------> over
//	                                     |  ^
//	           running, retrying, waiting,  | next module
//	           sleeping                     |
//
// What a module goes through, in this order: skip_if, mock, its work (with retries), stop_after_if, approval (suspend), sleep.
// Rules that are not obvious from the format's description are those of Windmill's engine, as its documentation and behaviour
// show them.
package flow
