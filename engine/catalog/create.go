package catalog

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash"
	"slices"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store"
)

// maxParents bounds the lineage kept in a row; the whole history is found by path.
const maxParents = 100

// Create deploys s as the next version of its path and returns its hash; created is false when SkipIfNoop found nothing to
// change. A nil Lock is resolved later, except where it is plain that nothing is needed. s is not changed.
func (c *Catalog) Create(ctx context.Context, p engine.Principal, ws string, s *engine.Script, o engine.ScriptOptions) (h engine.Hash, created bool, err error) {
	n, err := c.complete(p, ws, s)
	if err != nil {
		return 0, false, err
	}
	err = c.cfg.DB.InTx(ctx, func(tx store.Tx) error {
		newest, current, err := c.cfg.DB.ScriptNewest(ctx, tx, ws, n.Path)
		if err != nil {
			return err
		}
		if current && o.SkipIfNoop && same(newest, n) {
			n.Hash = newest.Hash
			return nil
		}
		if err := adopt(n, newest, current, o); err != nil {
			return err
		}
		created = true
		return c.insert(ctx, tx, n)
	})
	if err != nil {
		return 0, false, refusal(opCreate, err, ws, n.Path)
	}
	if created {
		c.memory.drop(ws+"/"+n.Path, false)
	}
	return n.Hash, created, nil
}

// adopt gives n its parents or says why it cannot follow what is there. A path that stands for nothing (archived, deleted)
// may be deployed to without naming a parent; its lineage goes on all the same.
func adopt(n, newest *engine.Script, current bool, o engine.ScriptOptions) error {
	named := o.ParentHash != nil && !o.AutoParent
	switch {
	case current && o.ParentHash == nil && !o.AutoParent:
		return &engine.Error{Code: engine.Conflict, Op: "script.create", Path: n.Path, Msg: "a script is deployed there already",
			Hint: fmt.Sprintf("to replace it, send parent_hash %s or auto_parent", newest.Hash)}
	case named && newest == nil:
		return &engine.Error{Code: engine.Conflict, Op: "script.create", Path: n.Path,
			Msg:  fmt.Sprintf("parent_hash %s names no version of this path, which has none yet", *o.ParentHash),
			Hint: "leave parent_hash out"}
	case named && *o.ParentHash != newest.Hash && slices.Contains(newest.Parents, *o.ParentHash):
		return &engine.Error{Code: engine.Conflict, Op: "script.create", Path: n.Path,
			Msg:  fmt.Sprintf("it was deployed again since parent_hash %s", *o.ParentHash),
			Hint: fmt.Sprintf("look at version %s first, then send it as parent_hash", newest.Hash)}
	case named && *o.ParentHash != newest.Hash:
		return &engine.Error{Code: engine.Conflict, Op: "script.create", Path: n.Path,
			Msg: fmt.Sprintf("parent_hash %s names no version of this path", *o.ParentHash), Hint: fmt.Sprintf("its newest is %s", newest.Hash)}
	}
	n.Parents = nil
	if newest != nil {
		n.Parents = append([]engine.Hash{newest.Hash}, newest.Parents...)
		n.Parents = n.Parents[:min(len(n.Parents), maxParents)]
	}
	return nil
}

// insert stores n under the first hash that is free; the second try is for one chance in 2^64.
func (c *Catalog) insert(ctx context.Context, tx store.Tx, n *engine.Script) error {
	for salt := range 3 {
		n.Hash = hashOf(n, salt)
		if ok, err := c.cfg.DB.ScriptInsert(ctx, tx, n); ok || err != nil {
			return err
		}
	}
	return engine.Errorf(engine.Internal, "script.create", "no free hash")
}

func refusal(op string, err error, ws, path string) error {
	switch {
	case engine.CodeOf(err) != engine.Internal:
		return err
	case store.IsUnknownReference(err):
		return &engine.Error{Code: engine.NotFound, Op: op, Path: path, Msg: "there is no workspace " + ws}
	}
	return failed(op, path, err)
}

// hashOf is a version's name: everything that makes it differ from others, and what it follows.
func hashOf(s *engine.Script, salt int) engine.Hash {
	h := sha256.New()
	put(h, "v1", fmt.Sprint(salt), s.Workspace, s.Path)
	if len(s.Parents) > 0 {
		put(h, s.Parents[0].String())
	}
	put(h, content(s)...)
	if s.Lock != nil {
		put(h, "lock", *s.Lock)
	}
	sum := engine.Hash(binary.BigEndian.Uint64(h.Sum(nil)))
	if sum == 0 { // "no hash" elsewhere
		sum = 1
	}
	return sum
}

func put(h hash.Hash, parts ...string) {
	for _, p := range parts {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		h.Write([]byte(p))
	}
}

// content lists what a deployment says, without its lock.
func content(s *engine.Script) []string {
	out := []string{s.Content, s.Language, s.Kind, s.Summary, s.Doc, s.Tag, s.Timeout.Truncate(time.Millisecond).String(), s.Network, canonical(s.Schema)}
	for _, k := range sortedFields(s.Extra) {
		out = append(out, k, canonical(s.Extra[k]))
	}
	return out
}

// controls are fields of Windmill's create request that say how to deploy, not what.
var controls = []string{"parent_hash", "auto_parent", "skip_draft_deletion", "deployment_message", "preserve_on_behalf_of"}

// sortedFields names the fields that say something.
func sortedFields(m map[string]json.RawMessage) []string {
	var keys []string
	for k, v := range m {
		if len(v) > 0 && string(v) != "null" && !slices.Contains(controls, k) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}

// same tells whether deploying n over old would change nothing. A lock that was not given does not count.
func same(old, n *engine.Script) bool {
	if n.Lock != nil && (old.Lock == nil || *old.Lock != *n.Lock) {
		return false
	}
	return slices.Equal(content(old), content(n))
}

// canonical writes equal JSON equally, whatever the order of its keys.
func canonical(j json.RawMessage) string {
	if len(j) == 0 {
		return ""
	}
	v, err := decode(j)
	if err != nil {
		return string(j)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return string(j)
	}
	return string(b)
}
