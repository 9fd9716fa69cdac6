package bun

import (
	"testing"

	"github.com/millrace/millrace/runtimes/runtimetest"
)

// TestAttack attacks the walls from inside a program of this language.
func TestAttack(t *testing.T) { runtimetest.Attack(t, New(), runtimetest.Options{Lib: testLib(t)}) }
