package main

import (
	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/runtimes/bash"
	"github.com/millrace/millrace/runtimes/bun"
	"github.com/millrace/millrace/runtimes/golang"
	"github.com/millrace/millrace/runtimes/python"
)

// families is the one list of languages.
func families() *runtimes.Registry {
	r := runtimes.NewRegistry()
	r.Register(python.New())
	r.Register(bun.New())
	r.Register(golang.New())
	r.Register(bash.New())
	return r
}
