package e2e

import "testing"

// part is a piece of a test that does not care what the daemon did before.
type part struct {
	name string
	test func(*testing.T, *daemon)
}

// TestJobs asks one daemon for everything that jobs do and suffer.
func TestJobs(t *testing.T) {
	share(t, "2", []part{{"Arguments", arguments}, {"ScriptsAndTokens", scriptsAndTokens}, {"BadInput", badInput}, {"Flows", flows}, {"DeployedFlows", deployedFlows}, {"SteeredFlows", steeredFlows}, {"GroupsApprove", groupsApprove}, {"Values", values}, {"Preprocessors", preprocessors}, {"WorkedExample", workedExample}, {"Locks", locks}, {"WindmillCLI", windmillCLI}})
}

// TestOneSlot holds what needs the next job in the same slot, or no slot for it.
func TestOneSlot(t *testing.T) {
	share(t, "1", []part{{"DaemonisingChild", daemonisingChild}, {"Cancel", cancel}, {"NoTwoAlike", noTwoAlike}, {"Limits", limits}, {"Timers", timers}})
}

func share(t *testing.T, slots string, parts []part) {
	d := start(t, folder(t), "--slots", slots)
	for _, p := range parts {
		t.Run(p.name, func(t *testing.T) { p.test(t, d.with(t)) })
	}
}
