package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// rules is the ruleset of one helper, the table "inet millrace-NUMBER":
//
//	input        from a slot's link             -> refuse
//	forward      from a slot's link             -> outgoing;  to one -> incoming
//	incoming     answers accepted, the rest dropped
//	outgoing     not IPv4                       -> refuse
//	             answers accepted
//	             to any slot's link             -> refuse
//	             to @permitted                  -> listed
//	             to @refused                    -> refuse
//	                                            -> listed
//	listed       link in @restricted            -> the chain of its place, which ends in open or refuse
//	                                            -> open
//	open         told ("+"), accepted
//	refuse       told ("-"), rejected
//	postrouting  from the helper's share of the range: masqueraded
//
// Telling is limited for each link, so that a flood costs its sender's record and nobody else.
type rules struct{ number int }

func (r *rules) table() *nftables.Table {
	return &nftables.Table{Name: fmt.Sprintf("millrace-%d", r.number), Family: nftables.TableFamilyINet}
}

func (r *rules) group() uint16 { return uint16(0x4d00 + r.number) }

// Registers: the first 16-byte one, and the second 4-byte part of it.
const (
	reg     = 1
	regNext = 9
)

// Limits of what is told of one link.
const (
	toldPerSecond = 200
	toldBurst     = 1000
)

// Prefixes of what is told.
const (
	toldOpen    = "+"
	toldRefused = "-"
)

func (r *rules) remove() error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	// Adding what may be there already makes removing it certain, in the same transaction.
	t := c.AddTable(r.table())
	c.DelTable(t)
	return c.Flush()
}

func (r *rules) make(conf Config) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	t := c.AddTable(r.table())
	base := func(name string, hook *nftables.ChainHook, prio *nftables.ChainPriority, kind nftables.ChainType) *nftables.Chain {
		accept := nftables.ChainPolicyAccept
		return c.AddChain(&nftables.Chain{Name: name, Table: t, Hooknum: hook, Priority: prio, Type: kind, Policy: &accept})
	}
	chain := func(name string) *nftables.Chain { return c.AddChain(&nftables.Chain{Name: name, Table: t}) }
	input := base("input", nftables.ChainHookInput, nftables.ChainPriorityFilter, nftables.ChainTypeFilter)
	forward := base("forward", nftables.ChainHookForward, nftables.ChainPriorityFilter, nftables.ChainTypeFilter)
	post := base("postrouting", nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource, nftables.ChainTypeNAT)
	incoming, outgoing, listed := chain("incoming"), chain("outgoing"), chain("listed")
	open, refuse := chain("open"), chain("refuse")

	permitted := &nftables.Set{Table: t, Name: "permitted", KeyType: nftables.TypeIPAddr, Interval: true}
	refused := &nftables.Set{Table: t, Name: "refused", KeyType: nftables.TypeIPAddr, Interval: true}
	restricted := r.restricted(t)
	pace := &nftables.Set{Table: t, Name: "pace", KeyType: nftables.TypeIFIndex, Dynamic: true, HasTimeout: true, Size: 2 * maxPlaces}
	if err := errors.Join(
		c.AddSet(permitted, intervals(conf.Permit)),
		c.AddSet(refused, intervals(append(append(slices.Clone(always), conf.Refuse...), conf.Range))),
		c.AddSet(restricted, nil), c.AddSet(pace, nil),
	); err != nil {
		return err
	}
	rule := func(ch *nftables.Chain, parts ...[]expr.Any) {
		c.AddRule(&nftables.Rule{Table: t, Chain: ch, Exprs: slices.Concat(parts...)})
	}
	mine := linkName(r.number, "")
	rule(input, nameBegins(expr.MetaKeyIIFNAME, mine), to("refuse"))
	rule(forward, nameBegins(expr.MetaKeyIIFNAME, mine), to("outgoing"))
	rule(forward, nameBegins(expr.MetaKeyOIFNAME, mine), to("incoming"))

	rule(incoming, answers(), verdict(expr.VerdictAccept))
	rule(incoming, verdict(expr.VerdictDrop))

	rule(outgoing, meta(expr.MetaKeyNFPROTO, expr.CmpOpNeq, unix.NFPROTO_IPV4), to("refuse"))
	rule(outgoing, answers(), verdict(expr.VerdictAccept))
	rule(outgoing, nameBegins(expr.MetaKeyOIFNAME, linkPrefix), to("refuse"))
	rule(outgoing, destination(reg), in(permitted), to("listed"))
	rule(outgoing, destination(reg), in(refused), to("refuse"))
	rule(outgoing, to("listed"))

	rule(listed, []expr.Any{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: reg},
		&expr.Lookup{SourceRegister: reg, SetID: restricted.ID, SetName: restricted.Name, IsDestRegSet: true}})
	rule(listed, to("open"))

	told := func(prefix string) []expr.Any {
		return []expr.Any{
			&expr.Meta{Key: expr.MetaKeyIIF, Register: reg},
			&expr.Dynset{SrcRegKey: reg, SetID: pace.ID, SetName: pace.Name, Operation: uint32(unix.NFT_DYNSET_OP_UPDATE), Timeout: paceKept,
				Exprs: []expr.Any{&expr.Limit{Type: expr.LimitTypePkts, Rate: toldPerSecond, Unit: expr.LimitTimeSecond, Burst: toldBurst}}},
			&expr.Log{Key: 1<<unix.NFTA_LOG_GROUP | 1<<unix.NFTA_LOG_PREFIX | 1<<unix.NFTA_LOG_QTHRESHOLD, Group: r.group(), QThreshold: 1,
				Data: []byte(prefix)},
		}
	}
	rule(open, told(toldOpen))
	rule(open, verdict(expr.VerdictAccept))
	rule(refuse, told(toldRefused))
	rule(refuse, meta(expr.MetaKeyL4PROTO, expr.CmpOpEq, unix.IPPROTO_TCP), []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_TCP_RST}})
	rule(refuse, []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_PORT_UNREACH}})

	rule(post, meta(expr.MetaKeyNFPROTO, expr.CmpOpEq, unix.NFPROTO_IPV4), source(conf.Range), []expr.Any{&expr.Masq{}})
	return c.Flush()
}

func (r *rules) restricted(t *nftables.Table) *nftables.Set {
	return &nftables.Set{Table: t, Name: "restricted", KeyType: nftables.TypeIFName, IsMap: true, DataType: nftables.TypeVerdict}
}

// nameBegins matches links by the beginning of their name: making a slot changes no rule.
func nameBegins(key expr.MetaKey, prefix string) []expr.Any {
	return []expr.Any{&expr.Meta{Key: key, Register: reg}, &expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: []byte(prefix)}}
}

func meta(key expr.MetaKey, op expr.CmpOp, value byte) []expr.Any {
	return []expr.Any{&expr.Meta{Key: key, Register: reg}, &expr.Cmp{Op: op, Register: reg, Data: []byte{value}}}
}

// answers matches packets of conversations that were let through before.
func answers() []expr.Any {
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATE, Register: reg},
		&expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: 4, Xor: make([]byte, 4),
			Mask: binaryutil.NativeEndian.PutUint32(expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: reg, Data: make([]byte, 4)},
	}
}

func destination(register uint32) []expr.Any {
	return []expr.Any{&expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4}}
}

func destinationPort(register uint32) []expr.Any {
	return []expr.Any{&expr.Payload{DestRegister: register, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}}
}

func source(p netip.Prefix) []expr.Any {
	return append([]expr.Any{&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseNetworkHeader, Offset: 12, Len: 4}}, inPrefix(p)...)
}

// inPrefix compares the address in the register.
func inPrefix(p netip.Prefix) []expr.Any {
	var mask [4]byte
	binary.BigEndian.PutUint32(mask[:], ^uint32(0)<<(32-p.Bits()))
	base := p.Masked().Addr().As4()
	return []expr.Any{
		&expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: 4, Mask: mask[:], Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: base[:]},
	}
}

func in(s *nftables.Set) []expr.Any {
	return []expr.Any{&expr.Lookup{SourceRegister: reg, SetID: s.ID, SetName: s.Name}}
}

func verdict(k expr.VerdictKind) []expr.Any { return []expr.Any{&expr.Verdict{Kind: k}} }

func to(chain string) []expr.Any {
	return []expr.Any{&expr.Verdict{Kind: expr.VerdictGoto, Chain: chain}}
}

// intervals makes elements of an interval set; ranges that touch or overlap become one, as the kernel wants it.
func intervals(list []netip.Prefix) []nftables.SetElement {
	type span struct{ from, to uint64 } // to is behind the last
	var spans []span
	for _, p := range list {
		b := p.Masked().Addr().As4()
		from := uint64(binary.BigEndian.Uint32(b[:]))
		spans = append(spans, span{from, from + 1<<(32-p.Bits())})
	}
	slices.SortFunc(spans, func(a, b span) int { return int(int64(a.from) - int64(b.from)) })
	var merged []span
	for _, s := range spans {
		if n := len(merged); n > 0 && s.from <= merged[n-1].to {
			merged[n-1].to = max(merged[n-1].to, s.to)
			continue
		}
		merged = append(merged, s)
	}
	key := func(v uint64) []byte { return binary.BigEndian.AppendUint32(nil, uint32(v)) }
	var out []nftables.SetElement
	for _, s := range merged {
		out = append(out, nftables.SetElement{Key: key(s.from)})
		if s.to < 1<<32 {
			out = append(out, nftables.SetElement{Key: key(s.to), IntervalEnd: true})
		}
	}
	return out
}
