package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
)

// config is a peer's config.json.
type config struct {
	Title    string    `json:"title"`
	URL      string    `json:"url"`
	Language string    `json:"language"` // of the steps
	Store    string    `json:"store"`    // postgres, redis or own
	Command  []string  `json:"command"`  // of the adapter; $INSTALL is where it was installed
	Variants []variant `json:"variants"`
	// Payload is the largest argument that the system takes, in bytes; 0: it has no bound below the largest that is measured.
	Payload int `json:"payload,omitempty"`
}

// variant is one way to run a peer: as its users run it, or tuned.
type variant struct {
	Name    string            `json:"name"`
	Title   string            `json:"title"`
	Process string            `json:"process"` // what separates one job from the next
	Commits string            `json:"commits"`
	Env     map[string]string `json:"env"`
	// Slow peers take seconds for a job; they are measured with few of them.
	Slow bool `json:"slow,omitempty"`

	config *config
	folder string
	tuned  bool // best of the folder: the last
}

// own are the variants that every other is compared with.
var own = []string{"millrace", "millrace-dedicated"}

func readPeers(folder string) ([]variant, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*", "config.json"))
	if err != nil {
		return nil, err
	}
	sort.Strings(files)
	var out []variant
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		c := &config{}
		if err := json.Unmarshal(b, c); err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
		if len(c.Command) == 0 || len(c.Variants) == 0 || !slices.Contains([]string{"postgres", "redis", "own"}, c.Store) {
			return nil, fmt.Errorf("%s: command, variants and a store (postgres, redis or own) are needed", f)
		}
		for i, v := range c.Variants {
			v.config, v.folder, v.tuned = c, filepath.Dir(f), i == len(c.Variants)-1
			out = append(out, v)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no peers in %s", folder)
	}
	return out, nil
}

// choose returns the named variants, or all, without our own.
func choose(all []variant, names []string) ([]variant, error) {
	var out []variant
	for _, v := range all {
		if !slices.Contains(own, v.Name) && (names == nil || slices.Contains(names, v.Name)) {
			out = append(out, v)
		}
	}
	for _, n := range names {
		if !slices.ContainsFunc(out, func(v variant) bool { return v.Name == n }) {
			return nil, fmt.Errorf("no peer is named %q", n)
		}
	}
	return out, nil
}

// onlyTuned leaves of each peer's variants the one that is tuned best.
func onlyTuned(list []variant) []variant {
	return slices.DeleteFunc(slices.Clone(list), func(v variant) bool { return !v.tuned })
}

// tunedFirst orders what a run may not come to the end of; slow ones come last among the tuned.
func tunedFirst(list []variant) []variant {
	rank := func(v variant) int {
		switch {
		case !v.tuned:
			return 2
		case v.Slow:
			return 1
		}
		return 0
	}
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b variant) int { return rank(a) - rank(b) })
	return list
}

func find(all []variant, name string) (variant, error) {
	for _, v := range all {
		if v.Name == name {
			return v, nil
		}
	}
	return variant{}, fmt.Errorf("no peer is named %q", name)
}

// installed is where a peer's programs lie. All variants of a peer share them.
func (v variant) installed(build string) string { return filepath.Join(build, filepath.Base(v.folder)) }

// installAll installs each peer once, whatever its variants. One that fails does not keep the others from being installed.
func installAll(ctx context.Context, chosen []variant, build string) error {
	var errs []error
	folders := map[string]bool{}
	for _, v := range chosen {
		if folders[v.folder] {
			continue
		}
		folders[v.folder] = true
		if err := v.install(ctx, build); err != nil {
			errs = append(errs, err)
		}
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
	}
	return errors.Join(errs...)
}

// install runs the peer's install.sh when what it reads has changed since it last succeeded.
func (v variant) install(ctx context.Context, build string) error {
	target := v.installed(build)
	stamp := filepath.Join(target, ".installed")
	want, err := fingerprint(v.folder)
	if err != nil {
		return err
	}
	// Every adapter is linked with the contract or has a copy of it.
	if shared, err := fingerprint(filepath.Join(v.folder, "..", "contract")); err == nil {
		want += " " + shared
	}
	// Our own adapter is linked with the client, which changes without it: go build knows whether there is anything to do.
	if have, err := os.ReadFile(stamp); err == nil && string(have) == want && !slices.Contains(own, v.Name) {
		return nil
	}
	fmt.Printf("   install %s\n", v.config.Title)
	cmd := exec.CommandContext(ctx, "bash", filepath.Join(v.folder, "install.sh"), target)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return errors.Join(fmt.Errorf("install %s", v.config.Title), err)
	}
	return os.WriteFile(stamp, []byte(want), 0o644)
}
