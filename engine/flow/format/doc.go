// Package format holds flows as they are written: the types of OpenFlow, the open format that flows are exchanged in, and
// their reading and writing as JSON, as YAML and as a folder with the code of the steps in files of its own.
//
// What was read can be written again without loss. Every type keeps the text that it came from: fields that this package does
// not know, the order of fields, a null where a field might have been left out, the spelling of a number; all of it comes
// back, unless the Go field was changed in between. The format grows monthly, and what a newer editor stored must survive.
//
// Every type also knows where it stood: At("stop_after_if") is the line and column of that field, for messages.
//
// Reading is lenient where others are (openflow fields with a server-side default may be missing, input_transforms has an
// older name, a timeout is a number or an expression) and otherwise collects everything that is wrong as Problems. It does
// not judge whether a flow makes sense: package check does.
package format
