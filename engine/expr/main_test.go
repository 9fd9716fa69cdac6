package expr

import (
	"fmt"
	"os"
	"testing"
)

// TestMain makes the test binary its own helper process.
func TestMain(m *testing.M) {
	if IsHelper() {
		if err := Serve(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// helperCommand starts the test binary as a helper.
func helperCommand() []string { return []string{os.Args[0]} }
