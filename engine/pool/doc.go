// Package pool keeps slots and started-ahead processes, so that a job finds a place that is already built, booted and
// confined.
//
// A class is all slots of one Template. Acquire gives, in this order: a slot whose next process already waits, a slot whose
// next process is being started, an idle slot, a new slot, and, when the budget is used up, the place of the slot that has
// been idle longest in another class, or of whoever releases first. A slot runs one job at a time and a process runs one job
// in its life; what is reused is the walls, never what was inside them.
//
//	Acquire -> Worker -> Run -> Release
//
// Pool state is guarded by one mutex, held only to move entries between lists; slots are opened, started and closed outside.
package pool
