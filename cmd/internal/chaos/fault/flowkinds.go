package fault

import (
	"fmt"
	"strconv"
	"strings"
)

// flowKinds are flows of every kind of module. A step writes down its flow, its place and its item, and returns its place; places rise
// in the order in which steps must begin, within an item and outside of items.
var flowKinds = []string{
	flowOf(note("a", "1", "''"), note("b", "2", "''"), note("c", "3", "''"), note("d", "4", "''")),
	flowOf(note("a", "1", "''"), loop("l", false, note("x", "10 + flow_input.iter.index * 10", "''"), note("y", "11 + flow_input.iter.index * 10", "''")), gather("l")),
	flowOf(loop("l", true, note("x", "10", "flow_input.iter.index")), gather("l")),
	flowOf(note("a", "1", "''"), loop("l", true, note("x", "10", "flow_input.iter.index"), note("y", "11", "flow_input.iter.index")), gather("l")),
	flowOf(`{"id":"o","value":{"type":"branchone","default":[],"branches":[{"expr":"true","modules":[`+note("x", "1", "''")+`,`+note("y", "2", "''")+`]}]}}`,
		`{"id":"l","value":{"type":"branchall","branches":[{"modules":[`+note("p", "10", "0")+`,`+note("q", "11", "0")+`]},{"modules":[`+note("r", "10", "1")+`]}]}}`, gather("l")),
	flowOf(step("a", "1", "''", failOnce, `,"retry":{"constant":{"attempts":3,"seconds":0}}`),
		step("b", "2", "''", failOnce, `,"retry":{"constant":{"attempts":3,"seconds":1}}`), note("c", "3", "''")),
	flowOf(`{"id":"o","value":{"type":"branchone","branches":[],"default":[`+loop("l", true, loop("m", false,
		note("x", "10 + flow_input.iter.index", "''")))+`]}}`, gather("o")),
	flowOf(step("a", "1", "''", "", `,"sleep":{"type":"static","value":1}`), note("b", "2", "''"),
		loop("l", true, step("x", "10", "flow_input.iter.index", "", `,"sleep":{"type":"static","value":1}`), note("y", "11", "flow_input.iter.index")), gather("l")),
}

const (
	record   = `echo \"NUMBER $place $item\" >> LOG\n`
	failOnce = `if [ ! -e LOG.d/NUMBER.$place ]; then touch LOG.d/NUMBER.$place; exit 1; fi\n`
)

func flowOf(modules ...string) string { return `{"modules":[` + strings.Join(modules, ",") + `]}` }

func step(id, place, item, more, fields string) string {
	return fmt.Sprintf(`{"id":%q,"value":{"type":"rawscript","language":"bash","content":"place=\"$1\"\nitem=\"$2\"\n%s%secho \"$place\"\n",
		"input_transforms":{"place":{"type":"javascript","expr":%q},"item":{"type":"javascript","expr":%q}}}%s}`, id, record, more, place, item, fields)
}

func note(id, place, item string) string { return step(id, place, item, "", "") }

// gather is the last step of a flow, which returns what another one came to.
func gather(of string) string {
	return fmt.Sprintf(`{"id":"z","value":{"type":"rawscript","language":"bash","content":"all=\"$1\"\nplace=1000\nitem=\n%secho \"$all\"\n",
		"input_transforms":{"all":{"type":"javascript","expr":"JSON.stringify(results.%s)"}}}}`, record, of)
}

func loop(id string, parallel bool, body ...string) string {
	return fmt.Sprintf(`{"id":%q,"value":{"type":"forloopflow","skip_failures":false,"parallel":%t,"iterator":{"type":"static","value":[1,2,3]},"modules":[%s]}}`,
		id, parallel, strings.Join(body, ","))
}

// retried are the flows whose steps fail once at these places.
func retried(flow, place int) bool { return flowKind(flow) == 5 && place < 3 }

func flowKind(flow int) int {
	if flow < 0 {
		return -1 - flow
	}
	return flow % kinds
}

// stepsAgain are steps that began again: of flows, and of workflows as code that go on side by side, of which many run at a kill.
type stepsAgain struct{ steps, abreast int }

// readSteps counts the steps that began again, and finds those that did after a later one had begun, or more often than there were kills.
func readSteps(log string, kills int) (again stepsAgain, wrong []string) {
	type key struct{ flow, item string }
	begun, latest, all := map[string]int{}, map[key]int{}, map[string]int{}
	for line := range strings.Lines(log) {
		f := strings.Fields(line)
		if len(f) < 2 {
			wrong = append(wrong, fmt.Sprintf("a record that cannot be read: %q", line))
			continue
		}
		item := strings.Join(f[2:], " ")
		flow, errFlow := strconv.Atoi(f[0])
		place, errPlace := strconv.Atoi(f[1])
		if errFlow != nil || errPlace != nil {
			wrong = append(wrong, fmt.Sprintf("a record that cannot be read: %q", line))
			continue
		}
		name := strings.Join(f, " ")
		allowed := 1
		if retried(flow, place) {
			allowed = 2
		}
		if flowKind(flow) == 6 && place < 1000 { // three loops write the same
			allowed = 3
		}
		switch begun[name]++; {
		case begun[name] > allowed && flowKind(flow) >= len(flowKinds):
			again.abreast++
			if begun[name] == allowed+kills+1 {
				wrong = append(wrong, fmt.Sprintf("step %s began more often than there were kills", name))
			}
		case begun[name] > allowed:
			again.steps++
		}
		late := max(latest[key{f[0], item}], latest[key{f[0], ""}])
		if item == "" { // it is outside of all items
			late = all[f[0]]
		}
		if flowKind(flow) != 6 && late > place {
			wrong = append(wrong, fmt.Sprintf("step %s began after a later one of its flow", name))
		}
		latest[key{f[0], item}] = max(latest[key{f[0], item}], place)
		all[f[0]] = max(all[f[0]], place)
	}
	return again, wrong
}
