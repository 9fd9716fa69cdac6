// Package expr answers the expressions of flows: JavaScript that reads what a flow was given and what its steps returned.
//
// An expression is answered in the cheapest way that it allows; which one is found once, when it is compiled:
//
//   - A plain path or literal (results.a.items[0], flow_input["x"], 42) is looked up in the raw JSON. Nothing is decoded.
//   - A tame expression (arithmetic, comparisons, templates, calls of methods that neither change anything nor multiply their
//     input) runs on a JavaScript engine in this process. It has no loops, no variables and no functions but short callbacks,
//     so its work is bounded by its text and its input, and input above a megabyte is not tame.
//   - Everything else runs in a helper process (Config.Helper), which is killed when it takes too long or too much memory. No
//     engine that runs inside a Go program can bound that alone: one call such as [].indexOf.call({length: 2**53}, 1) or
//     "x".repeat(1e9) never comes back to the place where interrupts are looked at, and memory that a Go program runs out of
//     ends the program. A process that can be killed is the only wall that holds for all of them.
//
// Expressions reach nothing but the names that a Scope gives them, and each of those only when they read it. Of large values
// only the paths that the text names are taken over: results.a.items.length does not decode results.a.log.
//
// An expression is a single expression, or statements with a return; the value of a last statement without one is returned.
// Results pass through JSON: undefined is null.
package expr
