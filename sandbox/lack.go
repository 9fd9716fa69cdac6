package sandbox

// Names of walls for Lack.What. The conformance suite leaves out what an isolator says it lacks.
const (
	LackMemory = "memory limits"
	LackPids   = "process limits"
	LackCPU    = "cpu limits"
	LackSwap   = "swap limits"
	LackIO     = "I/O limits"
	LackWalls  = "isolation"
	LackUsers  = "a user of its own for each slot"
	LackEgress = "egress filter"
	// LackLandlock: the wall behind the walls around files. Nothing else depends on it.
	LackLandlock = "landlock"
)

// Lacking says whether the wall called what is missing.
func (s Strength) Lacking(what string) bool {
	for _, l := range s.Lacks {
		if l.What == what {
			return true
		}
	}
	return false
}
