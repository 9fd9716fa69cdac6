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
// Each idle slot has its next process ready, where that can be: booted and waiting for a request (Bun), forked from its zygote and
// confined (Python), or confined and held until it is told what program it is (Go, Bash). The next one is started when the last is gone
// from the slot, never before. Slots that are worn, by count or by age, are renewed in the background; those that nobody uses are closed.
//
// Pool state is guarded by one mutex, held only to move entries between lists; slots are opened, started and closed outside.
package pool
