package network

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/sandbox"
)

// An allow-list is a chain of the place's own, to which the map "restricted" leads packets of its link:
//
//	place-N   to an address of the list (and port)         -> open      one rule an entry
//	          to an address and port in @ports-N            -> open      from names, see Permit
//	          to an address in @hosts-N                     -> open      likewise, any port
//	                                                        -> refuse

const (
	paceKept = 20 * time.Second
	// Names stay let through for this long at least: programs keep an answer for longer than they should.
	leastPermit = 5 * time.Minute
	mostPermit  = 24 * time.Hour
	maxPermits  = 4096
)

var addressAndPort = nftables.MustConcatSetType(nftables.TypeIPAddr, nftables.TypeInetService)

func (r *rules) chainName(p *Place) string { return fmt.Sprintf("place-%d", p.number) }

func (r *rules) ports(t *nftables.Table, p *Place) *nftables.Set {
	return &nftables.Set{Table: t, Name: fmt.Sprintf("ports-%d", p.number), KeyType: addressAndPort, Concatenation: true, HasTimeout: true, Size: maxPermits}
}

func (r *rules) hosts(t *nftables.Table, p *Place) *nftables.Set {
	return &nftables.Set{Table: t, Name: fmt.Sprintf("hosts-%d", p.number), KeyType: nftables.TypeIPAddr, HasTimeout: true, Size: maxPermits}
}

func (r *rules) jump(p *Place) []nftables.SetElement {
	key := make([]byte, unix.IFNAMSIZ)
	copy(key, p.name)
	return []nftables.SetElement{{Key: key, VerdictData: &expr.Verdict{Kind: expr.VerdictGoto, Chain: r.chainName(p)}}}
}

// restrict makes the chain of p, in one transaction.
func (r *rules) restrict(p *Place, allow []sandbox.Allow) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	t := r.table()
	chain := c.AddChain(&nftables.Chain{Name: r.chainName(p), Table: t})
	ports, hosts := r.ports(t, p), r.hosts(t, p)
	if err := errors.Join(c.AddSet(ports, nil), c.AddSet(hosts, nil)); err != nil {
		return err
	}
	rule := func(parts ...[]expr.Any) {
		c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: slices.Concat(parts...)})
	}
	for _, a := range allow {
		if !a.Prefix.IsValid() {
			continue
		}
		if a.Port == 0 {
			rule(destination(reg), inPrefix(a.Prefix), to("open"))
			continue
		}
		port := []byte{byte(a.Port >> 8), byte(a.Port)}
		for _, proto := range []byte{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
			rule(meta(expr.MetaKeyL4PROTO, expr.CmpOpEq, proto), destination(reg), inPrefix(a.Prefix),
				destinationPort(reg), []expr.Any{&expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: port}}, to("open"))
		}
	}
	for _, proto := range []byte{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
		rule(meta(expr.MetaKeyL4PROTO, expr.CmpOpEq, proto), destination(reg), destinationPort(regNext), in(ports), to("open"))
	}
	rule(destination(reg), in(hosts), to("open"))
	rule(to("refuse"))
	if err := c.SetAddElements(r.restricted(t), r.jump(p)); err != nil {
		return err
	}
	return c.Flush()
}

// release undoes restrict.
func (r *rules) release(p *Place) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	t := r.table()
	if err := c.SetDeleteElements(r.restricted(t), r.jump(p)); err != nil {
		return err
	}
	chain := &nftables.Chain{Name: r.chainName(p), Table: t}
	c.FlushChain(chain)
	c.DelChain(chain)
	c.DelSet(r.ports(t, p))
	c.DelSet(r.hosts(t, p))
	return c.Flush()
}

// Permit lets a place with an allow-list contact an address for at least the given time. Without one it does nothing.
func (p *Place) Permit(x sandbox.Permit, ttl time.Duration) error {
	if !p.restricted {
		return nil
	}
	if !x.Address.Is4() {
		return errors.New("egress: not an IPv4 address")
	}
	ttl = min(max(ttl, leastPermit), mostPermit)
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	until, known := p.known[x]
	if known && until.After(now.Add(ttl/2)) {
		return nil
	}
	if !known && len(p.known) >= maxPermits {
		for old, end := range p.known {
			if end.Before(now) {
				delete(p.known, old)
			}
		}
		if len(p.known) >= maxPermits {
			return fmt.Errorf("egress: the names of the allow-list have more than %d addresses", maxPermits)
		}
	}
	err := p.egress.rules.permit(p, x, ttl, known)
	if err != nil && known { // it has just expired
		err = p.egress.rules.permit(p, x, ttl, false)
	}
	if err != nil {
		return fmt.Errorf("egress: let %s through: %w", x.Address, err)
	}
	if p.known == nil {
		p.known = map[sandbox.Permit]time.Time{}
	}
	p.known[x] = now.Add(ttl)
	return nil
}

// permit adds an element; again replaces one, since older kernels keep the time of what is there.
func (r *rules) permit(p *Place, x sandbox.Permit, ttl time.Duration, again bool) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	t := r.table()
	address := x.Address.As4()
	set, key := r.hosts(t, p), address[:]
	if x.Port != 0 {
		set = r.ports(t, p)
		key = append(slices.Clone(key), append(binaryutil.BigEndian.PutUint16(x.Port), 0, 0)...)
	}
	if again {
		if err := c.SetDeleteElements(set, []nftables.SetElement{{Key: key}}); err != nil {
			return err
		}
	}
	if err := c.SetAddElements(set, []nftables.SetElement{{Key: key, Timeout: ttl}}); err != nil {
		return err
	}
	return c.Flush()
}
