package secret

import (
	"context"
	"strings"
	"unicode/utf8"

	"github.com/millrace/millrace/engine"
)

// mostText bounds the text of a variable.
const mostText = 1 << 20

// CreateVariable stores a new variable. sealed: the value of a secret one is what GetVariable gave as sealed.
func (v *Values) CreateVariable(ctx context.Context, p engine.Principal, x engine.Variable, sealed bool) error {
	const op = "variable.create"
	if err := v.admit(p, op, x.Workspace, x.Path, x.Value); err != nil {
		return err
	}
	var err error
	if x.Value, err = v.stored(op, &x, sealed); err != nil {
		return err
	}
	x.EditedBy = p.Username
	made, err := v.cfg.DB.VariableInsert(ctx, &x)
	if err == nil && !made {
		return &engine.Error{Code: engine.Conflict, Op: op, Path: x.Path, Msg: "there is a variable at this path already", Hint: "update it"}
	}
	return failed(op, "variable", x.Path, err)
}

func (v *Values) admit(p engine.Principal, op, ws, path, text string) error {
	if err := engine.CheckPath(op, path); err != nil {
		return err
	}
	if err := v.may(p, write, ws, path); err != nil {
		return err
	}
	switch {
	case len(text) > mostText:
		return &engine.Error{Code: engine.TooLarge, Op: op, Path: path, Msg: "the value has more than a megabyte"}
	case !utf8.ValidString(text) || strings.IndexByte(text, 0) >= 0:
		return &engine.Error{Code: engine.Invalid, Op: op, Path: path, Msg: "the value is not text", Hint: "encode bytes, as base64 for example"}
	}
	return nil
}

// stored is what of a variable goes into the database.
func (v *Values) stored(op string, x *engine.Variable, sealed bool) (string, error) {
	if !x.IsSecret {
		return x.Value, nil
	}
	if err := v.usable(op, x.Path); err != nil {
		return "", err
	}
	if sealed {
		if _, err := v.cfg.Key.open(x.Workspace, x.Path, x.Value); err != nil {
			return "", &engine.Error{Code: engine.Invalid, Op: op, Path: x.Path, Msg: "the value is not encrypted by this server for this path",
				Hint: "send it in plain text, without already_encrypted"}
		}
		return x.Value, nil
	}
	s, err := v.cfg.Key.seal(x.Workspace, x.Path, x.Value)
	return s, failed(op, "variable", x.Path, err)
}

func (v *Values) usable(op, path string) error {
	if v.foreign.Load() {
		return &engine.Error{Code: engine.Unavailable, Op: op, Path: path, Msg: "this daemon does not have the key of this database's secrets", Hint: keyHint}
	}
	return nil
}

func (v *Values) open(op string, x *engine.Variable) (string, error) {
	if !x.IsSecret {
		return x.Value, nil
	}
	if err := v.usable(op, x.Path); err != nil {
		return "", err
	}
	text, err := v.cfg.Key.open(x.Workspace, x.Path, x.Value)
	if err != nil {
		return "", &engine.Error{Code: engine.Internal, Op: op, Path: x.Path, Msg: "the secret cannot be decrypted", Hint: "set its value again", Err: err}
	}
	return text, nil
}

// Show says what of a secret is wanted.
type Show int

// What of a secret can be shown.
const (
	Nothing Show = iota
	Sealed
	Plain
)

func (v *Values) show(op string, x *engine.Variable, s Show) (err error) {
	switch {
	case !x.IsSecret || s == Sealed:
	case s == Plain:
		x.Value, err = v.open(op, x)
	default:
		x.Value = ""
	}
	return err
}

// GetVariable returns a variable.
func (v *Values) GetVariable(ctx context.Context, p engine.Principal, ws, path string, s Show) (*engine.Variable, error) {
	const op = "variable.get"
	if err := v.may(p, read, ws, path); err != nil {
		return nil, err
	}
	x, err := v.cfg.DB.VariableGet(ctx, ws, path)
	if err != nil {
		return nil, failed(op, "variable", path, err)
	}
	return x, v.show(op, x, s)
}

// ListVariables lists those that p may read, secrets without their values.
func (v *Values) ListVariables(ctx context.Context, p engine.Principal, ws string, f engine.ValueFilter) ([]engine.Variable, error) {
	if err := v.may(p, read, ws, ""); err != nil {
		return nil, err
	}
	list, err := v.cfg.DB.VariableList(ctx, ws, f)
	if err != nil {
		return nil, failed("variable.list", "variable", "", err)
	}
	out := list[:0]
	for _, x := range list {
		if v.may(p, read, ws, x.Path) == nil && v.show("variable.list", &x, Nothing) == nil {
			out = append(out, x)
		}
	}
	return out, nil
}

// UpdateVariable changes a variable. sealed is about the value, as for CreateVariable.
func (v *Values) UpdateVariable(ctx context.Context, p engine.Principal, ws, path string, c engine.VariableChange, sealed bool) error {
	const op = "variable.update"
	if err := v.may(p, write, ws, path); err != nil {
		return err
	}
	for {
		x, err := v.cfg.DB.VariableGet(ctx, ws, path)
		if err != nil {
			return failed(op, "variable", path, err)
		}
		old := x.Value
		if err := v.change(p, op, x, c, sealed); err != nil {
			return err
		}
		done, err := v.cfg.DB.VariableUpdate(ctx, path, old, x)
		if err != nil || done {
			return failed(op, "variable", x.Path, err)
		}
	}
}

// change applies c to what is stored in x.
func (v *Values) change(p engine.Principal, op string, x *engine.Variable, c engine.VariableChange, sealed bool) (err error) {
	if sealed = sealed && c.Value != nil; !sealed {
		if x.Value, err = v.open(op, x); err != nil && c.Value == nil {
			return err
		}
	}
	for from, to := range map[*string]*string{c.Path: &x.Path, c.Value: &x.Value, c.Description: &x.Description} {
		if from != nil {
			*to = *from
		}
	}
	if c.IsSecret != nil {
		x.IsSecret = *c.IsSecret
	}
	if err := v.admit(p, op, x.Workspace, x.Path, x.Value); err != nil {
		return err
	}
	x.EditedBy = p.Username
	x.Value, err = v.stored(op, x, sealed)
	return err
}

// DeleteVariable deletes a variable.
func (v *Values) DeleteVariable(ctx context.Context, p engine.Principal, ws, path string) error {
	const op = "variable.delete"
	if err := v.may(p, write, ws, path); err != nil {
		return err
	}
	there, err := v.cfg.DB.VariableDelete(ctx, ws, path)
	if err == nil && !there {
		return &engine.Error{Code: engine.NotFound, Op: op, Path: path, Msg: "there is no such variable"}
	}
	return failed(op, "variable", path, err)
}
