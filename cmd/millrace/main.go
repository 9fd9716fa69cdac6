// Command millrace is the whole product in one binary: the daemon (serve) and the commands that talk to it.
package main

import (
	"fmt"
	"os"

	"github.com/millrace/millrace/cmd/internal/cli"
	"github.com/millrace/millrace/engine/expr"
	"github.com/millrace/millrace/sandbox/timerslack"
)

func main() {
	if expr.IsHelper() {
		if err := expr.Serve(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) > 1 && os.Args[1] == "serve" {
		_ = timerslack.Widen() // what cannot have it is slower, and nothing else
	}
	os.Exit(cli.Main(os.Args[1:], cliConfig()))
}
