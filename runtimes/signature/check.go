package signature

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/millrace/millrace/runtimes"
)

// ArgumentError is the name of the failure that Check returns.
const ArgumentError = "ArgumentError"

// Validator checks arguments against one schema. It is safe for concurrent use.
type Validator struct {
	schema   *jsonschema.Schema // nil: everything is fine
	required []string
	props    map[string]shown
	plain    *plain // nil: the schema says more than types
}

// shown is what messages say of a top-level property.
type shown struct{ want string }

// Compile prepares a stored schema. An error says that the schema is unusable; the Validator returned with it is still good
// and accepts every JSON object, so a caller may note the error and go on.
func Compile(schema json.RawMessage) (*Validator, error) {
	v := &Validator{props: map[string]shown{}}
	if len(bytes.TrimSpace(schema)) == 0 {
		return v, nil
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		return v, fmt.Errorf("signature: read schema: %w", err)
	}
	root, ok := doc.(map[string]any)
	if !ok {
		return v, errors.New("signature: the schema is not an object")
	}
	clean := tidy(root, 0)
	delete(clean, "type") // arguments always are an object; Check says so itself
	required, _ := clean["required"].([]any)
	for _, name := range required {
		v.required = append(v.required, name.(string))
	}
	props, _ := clean["properties"].(map[string]any)
	for name, p := range props {
		v.props[name] = shown{want: typeName(p)}
	}
	if len(props) == 0 && len(required) == 0 && len(clean) == 0 {
		return v, nil
	}
	c := jsonschema.NewCompiler()
	c.UseLoader(nowhere{})
	const name = "schema.json"
	if err := c.AddResource(name, clean); err != nil {
		return v, fmt.Errorf("signature: compile schema: %w", err)
	}
	s, err := c.Compile(name)
	if err != nil {
		return v, fmt.Errorf("signature: compile schema: %w", err)
	}
	v.schema, v.plain = s, newPlain(clean, v.required)
	return v, nil
}

// nowhere keeps a schema from making the server fetch anything.
type nowhere struct{}

func (nowhere) Load(url string) (any, error) {
	return nil, errors.New("schemas are not loaded from " + url)
}

// Check returns a *runtimes.Failure named ArgumentError when args, a JSON object, do not fit. What the schema does not
// mention is allowed; null is allowed where nothing is required; "$var:..." and "$res:..." stand for any value.
func (v *Validator) Check(args json.RawMessage) error {
	if len(bytes.TrimSpace(args)) == 0 {
		args = json.RawMessage("{}")
	}
	if v.schema == nil {
		if t := bytes.TrimSpace(args); t[0] != '{' || !json.Valid(args) {
			return fail("arguments: want a JSON object")
		}
		return nil
	}
	if v.plain != nil && v.plain.fits(args) {
		return nil
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(args))
	if err != nil {
		return fail("arguments: not valid JSON: " + err.Error())
	}
	obj, ok := doc.(map[string]any)
	if !ok {
		return fail("arguments: want a JSON object")
	}
	err = v.schema.Validate(obj)
	var bad *jsonschema.ValidationError
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &bad):
		return fail("arguments: " + err.Error())
	}
	var messages []string
	v.collect(bad, obj, &messages)
	if len(messages) == 0 {
		return nil
	}
	slices.Sort(messages) // the validator goes through properties in no order
	return fail(strings.Join(slices.Compact(messages), "\n"))
}

func fail(message string) error {
	return &runtimes.Failure{Name: ArgumentError, Message: message}
}

// collect adds a message for each complaint of e that stands. Complaints about values that only look wrong are dropped:
// references, which are resolved later, and nulls, which mean "not given".
func (v *Validator) collect(e *jsonschema.ValidationError, args map[string]any, out *[]string) {
	if v.excused(e.InstanceLocation, args) {
		return
	}
	switch k := e.ErrorKind.(type) {
	case *kind.Required:
		for _, name := range k.Missing {
			*out = append(*out, v.missing(append(slices.Clone(e.InstanceLocation), name)))
		}
		return
	case *kind.OneOf, *kind.AnyOf:
		// An alternative that fits but for excused values fits; two that fit are one too many only on paper.
		for _, c := range e.Causes {
			var sub []string
			if v.collect(c, args, &sub); len(sub) == 0 {
				return
			}
		}
		if len(e.Causes) > 0 {
			*out = append(*out, where(e.InstanceLocation)+": fits none of the alternatives")
		}
		return
	}
	if len(e.Causes) == 0 {
		*out = append(*out, where(e.InstanceLocation)+": "+say(e.ErrorKind))
		return
	}
	for _, c := range e.Causes {
		v.collect(c, args, out)
	}
}

// excused says whether the value at loc is a reference, or a null that nobody needs.
func (v *Validator) excused(loc []string, args map[string]any) bool {
	var at any = args
	for _, key := range loc {
		switch x := at.(type) {
		case map[string]any:
			at = x[key]
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i >= len(x) {
				return false
			}
			at = x[i]
		default:
			return false
		}
	}
	switch x := at.(type) {
	case nil:
		return len(loc) != 1 || !slices.Contains(v.required, loc[0])
	case string:
		return strings.HasPrefix(x, "$res:") || strings.HasPrefix(x, "$var:")
	}
	return false
}

func (v *Validator) missing(loc []string) string {
	message := where(loc) + ": missing"
	if p := v.props[loc[0]]; len(loc) == 1 && p.want != "" {
		message += ", want " + p.want
	}
	return message
}

// where writes a place as people do: o.items[2].name.
func where(loc []string) string {
	if len(loc) == 0 {
		return "arguments"
	}
	var b strings.Builder
	for i, key := range loc {
		if _, err := strconv.Atoi(key); err == nil && i > 0 {
			b.WriteString("[" + key + "]")
			continue
		}
		if i > 0 {
			b.WriteByte('.')
		}
		b.WriteString(key)
	}
	return b.String()
}

func say(k jsonschema.ErrorKind) string {
	if t, ok := k.(*kind.Type); ok {
		return "got " + t.Got + ", want " + strings.Join(t.Want, " or ")
	}
	return k.LocalizedString(message.NewPrinter(language.English))
}
