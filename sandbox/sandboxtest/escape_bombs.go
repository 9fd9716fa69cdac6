package sandboxtest

import (
	"testing"

	"github.com/millrace/millrace/sandbox"
)

// BombLimits are what "probe bombs" runs with: room for an interpreter that starts the probe, and much less than the bombs take.
var BombLimits = sandbox.Limits{Memory: 224 << 20, Pids: 80, WorkSize: 4 << 20, OpenFiles: 200}

// JudgeBombs reads what "probe bombs" printed inside, with BombLimits: each must have been refused, or ended by the kernel.
func (s *Scene) JudgeBombs(t *testing.T, who, output string) Row {
	t.Helper()
	return s.judge(t, who+": bombs", verdict{outcomes(output), controls(t).bombs, bombTraits})
}
