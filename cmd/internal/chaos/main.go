// Command chaos inflicts faults on the product under load, writes down outside of it what was promised meanwhile, and
// compares that with the database afterwards. It ends with a table, writes bench/results/chaos.json, and fails when a promise
// was broken, or when the control run, which breaks one on purpose, was not found out.
//
//	chaos [--kills 200] [--faults a,b] [--seed N]
//
// A seed repeats the plan: which fault, how often, which victim and after which while. What the processes are doing at that
// moment is theirs. web/docs/faults.md describes the faults and what is compared.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/millrace/millrace/cmd/internal/chaos/agent"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == "agent" {
		if err := agent.Run(os.Args[2], os.Stdin, os.Stdout, os.Stderr); err != nil {
			fmt.Fprintln(os.Stderr, "chaos agent:", err)
			os.Exit(1)
		}
		return
	}
	o, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	if err == nil {
		err = run(ctx, o, os.Stdout)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}
