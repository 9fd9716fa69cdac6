package main

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/millrace/millrace/engine/contact"
	"github.com/millrace/millrace/engine/execute"
	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/sandbox/slot"
)

// Values of --network-default and --egress.
const (
	networkAuto  = "auto"
	egressRefuse = "refuse"
	egressHost   = "host"
)

// networkConfig is what serve is told about the network of jobs.
type networkConfig struct {
	standard string // what a job has that does not say; "auto": egress where the host can, else the host's
	egress   string // what becomes of jobs that want egress where the host has none
}

func (c networkConfig) check() error {
	var errs []error
	switch sandbox.Network(c.standard) {
	case networkAuto, sandbox.NetworkNone, sandbox.NetworkEgress, sandbox.NetworkHost:
	default:
		errs = append(errs, fmt.Errorf("--network-default %q: use auto, none, egress or host", c.standard))
	}
	if c.egress != egressRefuse && c.egress != egressHost {
		errs = append(errs, fmt.Errorf("--egress %q: use refuse or host", c.egress))
	}
	return errors.Join(errs...)
}

// networks settles what jobs can reach here.
func (d *daemon) networks() execute.Networks {
	n := execute.Networks{Default: sandbox.Network(d.cfg.network.standard), EgressIsHost: d.cfg.network.egress == egressHost, NoEgress: noEgress(d.isolator)}
	if n.Default == networkAuto {
		if n.Default = sandbox.NetworkHost; n.NoEgress == "" {
			n.Default = sandbox.NetworkEgress
		}
	}
	if box, ok := d.isolator.(*slot.Isolator); ok && box.API().IsValid() {
		n.API = "http://" + box.API().String()
	}
	event := d.log.Info()
	if n.NoEgress != "" {
		event = event.Str("no_egress", n.NoEgress)
	}
	event.Str("network", string(n.Default)).Msg("jobs that do not say have network " + string(n.Default))
	return n
}

// noEgress is why an isolator has no slots with a filtered way out; empty: it has.
func noEgress(i sandbox.Isolator) string {
	for _, l := range i.Strength().Lacks {
		if l.What == sandbox.LackEgress {
			return l.Why
		}
	}
	if _, ok := i.(*slot.Isolator); !ok {
		return "only --isolation=full has it"
	}
	return ""
}

// guest serves the API to a job that calls from inside of its slot.
func (d *daemon) guest(c net.Conn) {
	if s := d.guests.Load(); s != nil {
		s.ServeGuest(c)
		return
	}
	_ = c.Close() // the daemon is still starting, and no job runs
}

// startContacts keeps what jobs contact.
func (d *daemon) startContacts(ctx context.Context) (*contact.Record, error) {
	r := contact.New(d.db, d.log.With().Str("part", "contact").Logger())
	if err := r.Start(ctx); err != nil {
		return nil, err
	}
	d.onStop(func(context.Context) { r.Stop() })
	return r, nil
}
