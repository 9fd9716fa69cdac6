package python

// workflowPackage is what workflows as code import their functions from. These functions are Millrace's own
// (lib/python/millrace_workflow.py), whether or not the package is installed; a script that imports nothing else of it does not need it.
const workflowPackage = "wmill"

var workflowNames = wordSet("workflow task task_script task_flow step sleep wait_for_approval get_approval_urls get_resume_urls parallel TaskError")
