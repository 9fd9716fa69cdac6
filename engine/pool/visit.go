package pool

import "github.com/millrace/millrace/sandbox"

// Visit is what a run and its slot's network have to do with each other; see sandbox.Networked.
type Visit struct {
	Visitor any                          // from whom the slot's calls of the API come
	Began   func()                       // the slot works for the run now
	Ended   func(list []sandbox.Contact) // its last process is gone, and this is what it contacted; called once after Began
}

// visit begins v, before a process of the run can contact anything. In a slot without a network of its own nothing is known.
func (w *Worker) visit(v *Visit) {
	n, ok := w.entry.slot.(sandbox.Networked)
	if v == nil || !ok {
		return
	}
	n.Begin(v.Visitor)
	v.Began()
	w.leave = func() { v.Ended(n.End()) }
}

// left ends the visit, when no process of the run is left.
func (w *Worker) left() {
	if w.leave != nil {
		w.leave()
		w.leave = nil
	}
}
