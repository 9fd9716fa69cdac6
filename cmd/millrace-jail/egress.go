package main

import (
	"flag"
	"fmt"
	"net/netip"

	"github.com/millrace/millrace/sandbox/network"
	"github.com/millrace/millrace/sandbox/oci"
)

// egress are the options that say how slots get out.
type egress struct {
	network network.Config
	api     netip.AddrPort
}

func (e *egress) flags(f *flag.FlagSet) {
	e.network.Range, e.api = network.DefaultRange, oci.DefaultAPI
	prefix := func(s string, into *[]netip.Prefix) error {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return fmt.Errorf("%q is not a network such as 10.0.0.0/8", s)
		}
		*into = append(*into, p)
		return nil
	}
	f.TextVar(&e.network.Range, "egress-range", e.network.Range, "IPv4 `network` from which slots with a way out get their addresses")
	f.Func("egress-refuse", "`network` that slots can not contact, in place of the private ones; may be repeated", func(s string) error {
		return prefix(s, &e.network.Refuse)
	})
	f.Func("egress-permit", "`network` that slots can contact although it is refused otherwise; may be repeated", func(s string) error {
		return prefix(s, &e.network.Permit)
	})
	f.BoolVar(&e.network.Forward, "ip-forward", false, "switch net.ipv4.ip_forward on if it is off: slots with a way out need it")
	f.TextVar(&e.api, "api", e.api, "`address` on which a slot without the host's network finds the API, inside of the slot")
}

func (e *egress) check() error {
	if !e.api.Addr().Is4() || !e.api.Addr().IsLoopback() || e.api.Port() == 0 {
		return fmt.Errorf("--api %s: give an IPv4 loopback address and a port, such as %s", e.api, oci.DefaultAPI)
	}
	return nil
}
