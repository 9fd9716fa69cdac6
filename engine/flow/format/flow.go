package format

import "encoding/json"

// Flow is a flow with what belongs to it: the root of an OpenFlow document, and of flow.yaml. The fields behind Schema lie
// beside the value in stored flows and files; those of them that others added are kept all the same.
type Flow struct {
	Source
	Summary     string          `json:"summary" flow:"required"`
	Description string          `json:"description"` // markdown
	Value       Value           `json:"value" flow:"required"`
	Schema      json.RawMessage `json:"schema"` // JSON Schema of the inputs

	OnBehalfOf      string `json:"on_behalf_of"`       // "u/<user>", "g/<group>" or an address
	OnBehalfOfEmail string `json:"on_behalf_of_email"` // derived on read

	Tag                 string `json:"tag"`
	Timeout             int    `json:"timeout"` // seconds, of the whole flow
	Priority            int    `json:"priority"`
	DedicatedWorker     bool   `json:"dedicated_worker"`
	VisibleToRunnerOnly bool   `json:"visible_to_runner_only"`
	WSErrorHandlerMuted bool   `json:"ws_error_handler_muted"`
	DeploymentMessage   string `json:"deployment_message"`
}

// Value is what a flow does.
type Value struct {
	Source
	Modules            []*Module `json:"modules" flow:"required"` // in the order of execution
	FailureModule      *Module   `json:"failure_module"`          // runs once when a failure was not handled; its id is "failure"
	PreprocessorModule *Module   `json:"preprocessor_module"`     // turns what a trigger sent into arguments; "preprocessor"

	SameWorker       bool `json:"same_worker"` // all steps in one place, with a shared folder ./shared
	PreserveStepTags bool `json:"preserve_step_tags"`

	ConcurrentLimit        int    `json:"concurrent_limit"`
	ConcurrencyTimeWindowS int    `json:"concurrency_time_window_s"`
	ConcurrencyKey         string `json:"concurrency_key" alias:"custom_concurrency_key"` // template: $workspace, $args[x]
	OnConcurrencyLimit     string `json:"on_concurrency_limit"`                           // "queue" or "fail"; "": queue

	Debounce

	SkipExpr          string                     `json:"skip_expr"` // true: the whole flow is skipped
	CacheTTL          float64                    `json:"cache_ttl"` // seconds
	CacheIgnoreS3Path bool                       `json:"cache_ignore_s3_path"`
	DeleteAfterSecs   *int                       `json:"delete_after_secs"`
	FlowEnv           map[string]json.RawMessage `json:"flow_env"` // constants; strings may be "$var:path", "$res:path"
	Priority          int                        `json:"priority"`
	EarlyReturn       string                     `json:"early_return"` // module id, or expression, at which a waiting caller is answered
	ChatInputEnabled  bool                       `json:"chat_input_enabled"`
	Notes             []*Note                    `json:"notes"`
	Groups            []*Group                   `json:"groups"`
}

// Debounce merges runs that are asked for in quick succession into one.
type Debounce struct {
	DebounceDelayS           int      `json:"debounce_delay_s"` // 0: off
	DebounceKey              string   `json:"debounce_key" alias:"custom_debounce_key"`
	DebounceArgsToAccumulate []string `json:"debounce_args_to_accumulate"` // lists of all merged runs are joined
	MaxTotalDebouncingTime   int      `json:"max_total_debouncing_time"`   // seconds after which it runs in any case
	MaxTotalDebouncesAmount  int      `json:"max_total_debounces_amount"`  // runs after which it runs in any case
}

// Note is a sticky note of the editor; it has no effect on what runs.
type Note struct {
	Source
	ID               string          `json:"id"`
	Text             string          `json:"text"`
	Color            string          `json:"color"`
	Type             string          `json:"type"` // "free" or "group"
	Position         json.RawMessage `json:"position"`
	Size             json.RawMessage `json:"size"`
	Locked           bool            `json:"locked"`
	ContainedNodeIDs []string        `json:"contained_node_ids"`
}

// Group frames some modules in the editor; it has no effect on what runs.
type Group struct {
	Source
	StartID      string `json:"start_id"`
	EndID        string `json:"end_id"`
	Summary      string `json:"summary"`
	Note         string `json:"note"` // markdown
	Autocollapse bool   `json:"autocollapse"`
	Color        string `json:"color"`
}
