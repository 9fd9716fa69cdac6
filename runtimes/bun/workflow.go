package bun

import (
	"strings"

	"github.com/millrace/millrace/runtimes/scan"
)

// workflowPackage is what workflows as code import their functions from. These functions are Millrace's own (lib/bun/workflow.js),
// whether or not the package is installed; a script that imports nothing else of it does not need it.
const workflowPackage = "windmill-client"

const workflowNames = " workflow task taskScript taskFlow step sleep waitForApproval getApprovalUrls getResumeUrls parallel TaskOptions TaskRetry TaskError "

// onlyWorkflows says whether the import whose specifier is at names nothing but functions of workflows.
func onlyWorkflows(toks []token, at token) bool {
	i := 0
	for i < len(toks) && toks[i].Pos != at.Pos {
		i++
	}
	if i < 3 || !toks[i-1].Is("from") || !toks[i-2].Is("}") {
		return false
	}
	open := i - 3
	for open >= 0 && !toks[open].Is("{") {
		open--
	}
	if open < 1 || !toks[open-1].Is("import") && !toks[open-1].Is("type") {
		return false
	}
	for _, part := range scan.Split(toks[open+1:i-2], ",") {
		if len(part) > 0 && part[0].Is("type") && len(part) > 1 {
			part = part[1:]
		}
		if len(part) > 0 && !strings.Contains(workflowNames, " "+part[0].Text+" ") {
			return false
		}
	}
	return true
}
