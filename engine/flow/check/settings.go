package check

import (
	"fmt"
	"strings"

	"github.com/millrace/millrace/engine/flow/format"
)

// settings judges what belongs to the flow as a whole.
func (c *checker) settings() {
	v := &c.flow.Value
	at := func(field string) format.Pos { return v.At(field) }
	c.limits(nil, v.Source, "value.", limits{v.ConcurrentLimit, v.ConcurrencyTimeWindowS, v.ConcurrencyKey, v.OnConcurrencyLimit})
	c.debounce(nil, v.Source, "value.", &v.Debounce)
	c.priority(nil, v.Source, "value.priority", v.Priority)
	if v.CacheTTL < 0 {
		c.wrong(nil, at("cache_ttl"), "value.cache_ttl", "is negative", "")
	}
	if n := v.DeleteAfterSecs; n != nil && *n < 0 {
		c.wrong(nil, at("delete_after_secs"), "value.delete_after_secs", "is negative", "")
	}
	if v.SkipExpr != "" {
		c.expression(v.SkipExpr, &place{field: "value.skip_expr", pos: at("skip_expr"), kind: skipPlace})
	}
	if id := v.EarlyReturn; id != "" && c.modules[id] == nil {
		c.expression(id, &place{field: "value.early_return", pos: at("early_return"), kind: conditionPlace, after: true})
	}
	if len(c.flow.Schema) > 0 && c.inputs == nil && string(c.flow.Schema) != "null" {
		c.wrong(nil, c.flow.At("schema"), "schema", "is not a JSON Schema", "")
	}
	c.unheeded()
	for n, g := range v.Groups {
		for _, id := range []string{g.StartID, g.EndID} {
			if id != "" && c.modules[id] == nil {
				c.doubtful(nil, g.Pos(), fmt.Sprintf("value.groups[%d]", n), fmt.Sprintf("there is no step %q", id), "")
			}
		}
	}
}

// unheeded warns of settings that are kept and change nothing here.
func (c *checker) unheeded() {
	f := c.flow
	for _, x := range []struct {
		set         bool
		field, hint string
	}{
		{f.OnBehalfOf != "" || f.OnBehalfOfEmail != "", "on_behalf_of", "the flow runs as whoever asks for it"},
		{f.DedicatedWorker, "dedicated_worker", "name scripts that are dedicated_worker"},
		{f.VisibleToRunnerOnly, "visible_to_runner_only", "who may read the workspace sees its runs"},
		{f.WSErrorHandlerMuted, "ws_error_handler_muted", ""},
		{f.Value.ChatInputEnabled, "value.chat_input_enabled", ""},
	} {
		if x.set {
			at := f.At(x.field)
			if x.field == "value.chat_input_enabled" {
				at = f.Value.At("chat_input_enabled")
			}
			c.doubtful(nil, at, x.field, "has no effect here", x.hint)
		}
	}
}

// limits are what may be said on how many runs there are at once.
type limits struct {
	limit, window  int
	key, otherwise string
}

func (c *checker) limits(m *format.Module, s format.Source, prefix string, l limits) {
	if l.limit < 0 {
		c.wrong(m, s.At("concurrent_limit"), prefix+"concurrent_limit", "is negative", "leave it out for no limit")
	}
	if l.window < 0 {
		c.wrong(m, s.At("concurrency_time_window_s"), prefix+"concurrency_time_window_s", "is negative", "")
	}
	if l.limit == 0 && (l.window != 0 || l.key != "") {
		c.doubtful(m, s.Pos(), prefix+"concurrent_limit", "is missing: a window or key without it has no effect", "")
	}
	switch l.otherwise {
	case "", "queue", "fail":
	default:
		c.wrong(m, s.At("on_concurrency_limit"), prefix+"on_concurrency_limit", fmt.Sprintf("%q is not known", l.otherwise), "use queue or fail")
	}
}

func (c *checker) debounce(m *format.Module, s format.Source, prefix string, d *format.Debounce) {
	for _, n := range []struct {
		field string
		value int
	}{
		{"debounce_delay_s", d.DebounceDelayS},
		{"max_total_debouncing_time", d.MaxTotalDebouncingTime},
		{"max_total_debounces_amount", d.MaxTotalDebouncesAmount},
	} {
		if n.value < 0 {
			c.wrong(m, s.At(n.field), prefix+n.field, "is negative", "")
		}
	}
	if d.DebounceDelayS == 0 && (d.DebounceKey != "" || len(d.DebounceArgsToAccumulate) > 0 || d.MaxTotalDebouncingTime > 0 ||
		d.MaxTotalDebouncesAmount > 0) {
		c.doubtful(m, s.Pos(), prefix+"debounce_delay_s", "is missing: the other settings of debouncing have no effect", "")
	}
	for _, name := range d.DebounceArgsToAccumulate {
		if m != nil || c.inputs == nil || c.inputs.properties == nil {
			continue
		}
		in := c.inputs.properties[name]
		if in == nil {
			c.doubtful(m, s.At("debounce_args_to_accumulate"), prefix+"debounce_args_to_accumulate",
				fmt.Sprintf("the flow's schema has no input %q", name), nearest(name, keys(c.inputs.properties)))
		} else if lists.clashes(in) {
			c.doubtful(m, s.At("debounce_args_to_accumulate"), prefix+"debounce_args_to_accumulate",
				fmt.Sprintf("the input %q is %s: only lists can be accumulated", name, in), "")
		}
	}
}

func (c *checker) priority(m *format.Module, s format.Source, field string, n int) {
	if n < 0 || n > 100 {
		c.wrong(m, s.At("priority"), field, fmt.Sprintf("is %d", n), "use 1 to 100; higher goes first")
	}
}

// fields judges the settings of a module.
func (c *checker) fields(m *format.Module) {
	c.priority(m, m.Source, "priority", m.Priority)
	negative := func(field string, value float64) {
		if value < 0 {
			c.wrong(m, m.At(field), field, "is negative", "")
		}
	}
	negative("cache_ttl", m.CacheTTL)
	if m.DeleteAfterSecs != nil {
		negative("delete_after_secs", float64(*m.DeleteAfterSecs))
	}
	if m.Timeout != nil && m.Timeout.Number != nil && *m.Timeout.Number < 0 {
		c.wrong(m, m.At("timeout"), "timeout", "is negative", "leave it out for no limit")
	}
	c.stop(m, "stop_after_if", m.StopAfterIf)
	c.stop(m, "stop_after_all_iters_if", m.StopAfterAllItersIf)
	c.retry(m)
	c.suspend(m)
	if d := m.Debouncing; d != nil {
		c.debounce(m, d.Source, "debouncing.", &d.Debounce)
	}
	if b, ok := m.Value.(*format.RawScript); ok {
		c.limits(m, b.Source, "value.", limits{b.ConcurrentLimit, b.ConcurrencyTimeWindowS, b.CustomConcurrencyKey, b.OnConcurrencyLimit})
		if strings.HasPrefix(b.Content, "!inline ") {
			c.wrong(m, b.At("content"), "value.content", "names a file instead of holding code", "deploy the folder, not the document alone")
		}
	}
	if m.StopAfterAllItersIf != nil {
		switch m.Value.(type) {
		case *format.ForLoop, *format.WhileLoop, *format.BranchAll:
		default:
			c.doubtful(m, m.At("stop_after_all_iters_if"), "stop_after_all_iters_if", "is looked at after loops and parallel branches only",
				"use stop_after_if")
		}
	}
}

func (c *checker) stop(m *format.Module, field string, s *format.StopIf) {
	if s == nil {
		return
	}
	if s.SkipIfStopped && s.ErrorMessage != nil {
		c.doubtful(m, s.At("error_message"), field+".error_message", "does not go with skip_if_stopped: the flow is skipped, or it fails", "remove one of the two")
	}
	if s.ErrorIncludeResult && s.ErrorMessage == nil {
		c.doubtful(m, s.At("error_include_result"), field+".error_include_result", "has no effect without error_message", "")
	}
}

func (c *checker) retry(m *format.Module) {
	r := m.Retry
	if r == nil {
		return
	}
	if k := r.Constant; k != nil && (k.Attempts < 0 || k.Seconds < 0) {
		c.wrong(m, k.Pos(), "retry.constant", "has a negative number", "")
	}
	e := r.Exponential
	if e == nil {
		return
	}
	if e.Attempts < 0 || e.Multiplier != nil && *e.Multiplier < 0 || e.Seconds < 0 {
		c.wrong(m, e.Pos(), "retry.exponential", "has a negative number", "")
	}
	if e.Attempts > 0 && e.Seconds == 0 {
		c.wrong(m, e.At("seconds"), "retry.exponential.seconds", "is missing: it is the base that grows", "use 1 or more")
	}
	if e.Attempts > 1 && e.Seconds == 1 {
		c.doubtful(m, e.At("seconds"), "retry.exponential.seconds", "is 1, and powers of 1 do not grow", "use 2 or more")
	}
	if f := e.RandomFactor; f != nil && (*f < 0 || *f > 100) {
		c.wrong(m, e.At("random_factor"), "retry.exponential.random_factor", "is not a percentage", "use 0 to 100")
	}
}

func (c *checker) suspend(m *format.Module) {
	s := m.Suspend
	if s == nil {
		return
	}
	if s.RequiredEvents < 0 || s.Timeout < 0 {
		c.wrong(m, s.Pos(), "suspend", "has a negative number", "")
	}
	switch s.Skin {
	case "", "detailed", format.SkinMinimal:
	default:
		c.doubtful(m, s.At("skin"), "suspend.skin", fmt.Sprintf("%q is not known", s.Skin), "use detailed or minimal")
	}
	if s.SelfApprovalDisabled && !s.UserAuthRequired {
		c.doubtful(m, s.At("self_approval_disabled"), "suspend.self_approval_disabled", "has no effect on approvals without an account",
			"set user_auth_required")
	}
	if _, ok := m.Value.(*format.Identity); ok && s.Gate() {
		c.wrong(m, s.Pos(), "suspend", "an identity step cannot ask for approval: it sends nobody the links", "use a script")
	}
	if s.ResumeForm != nil && len(s.ResumeForm.Schema) > 0 && string(s.ResumeForm.Schema) != "null" && parseShape(s.ResumeForm.Schema) == nil {
		c.wrong(m, s.ResumeForm.At("schema"), "suspend.resume_form.schema", "is not a JSON Schema", "")
	}
}
