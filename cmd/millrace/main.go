// Command millrace is the whole product in one binary: the daemon (serve) and the commands that talk to it.
package main

import (
	"os"

	"github.com/millrace/millrace/cmd/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], cliConfig()))
}
