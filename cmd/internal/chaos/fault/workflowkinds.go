package fault

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/millrace/millrace/cmd/internal/push"
	"github.com/millrace/millrace/web/client"
)

// The workflows do the same in each language, which is the name of the file: steps one after the other and side by side, a task, a wait.
// As in flows, a step writes down its workflow, its place and its item.
//
//go:embed workflow
var workflowFiles embed.FS

// workflowKind is a workflow as code that is run in the process of its script, beside all others of it.
type workflowKind struct{ language, source string }

func (w workflowKind) path() string { return "u/chaos/workflow_" + w.language }

var workflowKinds = readWorkflows()

func readWorkflows() (out []workflowKind) {
	const folder = "workflow"
	list, err := workflowFiles.ReadDir(folder)
	if err != nil {
		panic(err) // it is embedded
	}
	for _, f := range list {
		source, err := workflowFiles.ReadFile(path.Join(folder, f.Name()))
		if err != nil {
			panic(err)
		}
		language, _, _ := strings.Cut(f.Name(), ".")
		out = append(out, workflowKind{language, string(source)})
	}
	return out
}

// kinds is how many kinds of flows there are in all.
var kinds = len(flowKinds) + len(workflowKinds)

// deploy deploys the workflows.
func (f *flowLoad) deploy(ctx context.Context) error {
	for _, w := range workflowKinds {
		s := client.NewScript{Path: w.path(), Language: w.language, Content: strings.ReplaceAll(w.source, "LOG", f.log),
			More: map[string]json.RawMessage{"dedicated_worker": json.RawMessage("true")}}
		if _, err := push.Script(ctx, f.client, s, io.Discard); err != nil {
			return fmt.Errorf("deploy a workflow: %w", err)
		}
	}
	return nil
}
