package sandboxtest

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/sandbox/direct"
)

// Walls says what of the suite an isolator is held to.
type Walls struct {
	// Networks are the modes to run in. Empty: none.
	Networks []sandbox.Network
	// Without names probes that this isolator makes no promise about, each with the reason.
	Without map[string]string
}

// Escape runs every probe of testdata in slots of the isolator, where all must be refused, and looks for leftovers of one process
// in the next. What a mode or a network does not promise is counted as such. Without walls (sandbox/direct) the same probes are
// run once, to show that each of them works and its being refused means something; where that cannot be shown on this host the
// reason is counted. The table at the end has the figures.
func Escape(t *testing.T, open Open, w Walls) {
	if len(w.Networks) == 0 {
		w.Networks = []sandbox.Network{sandbox.NetworkNone}
	}
	table := &Table{}
	for _, n := range w.Networks {
		t.Run(string(n), func(t *testing.T) {
			b := &bench{t: t, isolator: open(t), network: n}
			b.strength = b.isolator.Strength()
			if !b.walls() || !Has(b.strength, n) {
				t.Skipf("isolation %s has no slots of this network here", b.strength.Mode)
			}
			b.slot = b.open()
			for _, init := range []bool{false, true} {
				who := "program"
				if init {
					who = "program under init"
				}
				scene := NewScene(t, b.isolator, n)
				scene.Without = w.Without
				lines := func(command string) string {
					s := b.probe(command)
					s.Init, s.Env = init, list(scene.Env(init))
					return b.run(s).Output
				}
				table.Add(scene.Judge(t, who, lines("all")))
				lines("leave")
				table.Add(scene.JudgeLeftovers(t, who, lines("find")))
				bomb := b.probe("bombs")
				bomb.Init, bomb.Env, bomb.Limits = init, list(scene.Env(init)), BombLimits
				table.Add(scene.JudgeBombs(t, who, b.run(bomb).Output))
			}
		})
	}
	t.Logf("\n%s", table)
	t.Run("HostFiles", func(t *testing.T) { testHostFiles(setup(t, open)) })
	t.Run("OtherSlot", func(t *testing.T) { testOtherSlot(setup(t, open)) })
	t.Run("Mounts", func(t *testing.T) { testMountsGone(setup(t, open)) })
}

func list(env map[string]string) []string {
	out := make([]string, 0, len(env))
	for _, k := range slices.Sorted(maps.Keys(env)) {
		out = append(out, k+"="+env[k])
	}
	return out
}

// outcome is what a probe printed.
type outcome struct {
	code int // 0: it worked, 1: refused, 2: it could not be tried
	text string
}

// outcomes reads lines "NAME CODE TEXT".
func outcomes(output string) map[string]outcome {
	out := map[string]outcome{}
	for line := range strings.Lines(output) {
		f := strings.SplitN(strings.TrimSpace(line), " ", 3)
		if len(f) == 3 && len(f[1]) == 1 && f[1] >= "0" && f[1] <= "2" {
			out[f[0]] = outcome{int(f[1][0] - '0'), f[2]}
		}
	}
	return out
}

// control holds what probes, leftovers and bombs do without walls; it is found out once.
var control struct {
	once sync.Once
	unwalled
}

type unwalled struct{ probes, leftovers, bombs map[string]outcome }

func controls(t *testing.T) unwalled {
	t.Helper()
	control.once.Do(func() {
		b := &bench{t: t, isolator: direct.New(""), network: sandbox.NetworkHost}
		b.slot = b.open()
		scene := NewScene(t, b.isolator, sandbox.NetworkHost)
		lines := func(command string) string {
			s := b.probe(command)
			env := scene.Env(false)
			env["PROBE_CONTROL"] = "1"
			s.Env = list(env)
			return b.run(s).Output
		}
		control.probes = outcomes(lines("all"))
		lines("leave")
		control.leftovers = outcomes(lines("find"))
		control.bombs = outcomes(lines("bombs"))
	})
	return control.unwalled
}
