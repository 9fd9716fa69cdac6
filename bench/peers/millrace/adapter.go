// Command millrace is the adapter of Millrace itself: it starts a daemon on the database it is given and talks to it over TCP as
// any client does. LANE says whether every run gets a sandbox of its own (isolated) or scripts keep their process (dedicated).
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/millrace/millrace/bench/peers/contract"
	"github.com/millrace/millrace/web/client"
)

func main() {
	contract.Serve(&peer{lane: lane(contract.Env("LANE", "isolated"))})
}

// lane is "isolated" or "dedicated"; its scripts lie in a folder of that name.
type lane string

func (l lane) path(script string) string { return "f/" + string(l) + "/" + script }

type peer struct {
	lane   lane
	daemon *exec.Cmd
	client *client.Client
	server string
	token  string
}

const (
	startLimit = 60 * time.Second
	pollEvery  = 5 * time.Millisecond // of a batch's counters, when the driver waits for many
)

func (p *peer) Start(ctx context.Context) (contract.Info, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return contract.Info{}, err
	}
	address := listener.Addr().String()
	_ = listener.Close()
	data := contract.Env("DATA", "")
	logFile, err := os.Create(filepath.Join(data, "daemon.log"))
	if err != nil {
		return contract.Info{}, err
	}
	defer func() { _ = logFile.Close() }() // the child has its own
	args := []string{"serve", "--data", data, "--database-url", contract.Env("DATABASE_URL", ""), "--listen", address, "--log", "json"}
	if slots := contract.Env("SLOTS", ""); slots != "" {
		args = append(args, "--slots", slots)
	}
	p.daemon = exec.Command(contract.Env("MILLRACE", "millrace"), args...)
	p.daemon.Stdout, p.daemon.Stderr = logFile, logFile
	p.daemon.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := p.daemon.Start(); err != nil {
		return contract.Info{}, err
	}
	local, err := client.New(client.Config{Socket: filepath.Join(data, "run", "millrace.sock"), Name: "bench"})
	if err != nil {
		return contract.Info{}, err
	}
	defer local.Close()
	for limit := time.Now().Add(startLimit); ; <-time.After(20 * time.Millisecond) {
		err := local.Ready(ctx)
		if err == nil {
			break
		}
		if time.Now().After(limit) {
			return contract.Info{}, fmt.Errorf("the daemon is not ready: %w", err)
		}
	}
	token, err := local.CreateToken(ctx, client.NewToken{Label: "bench"})
	if err != nil {
		return contract.Info{}, err
	}
	p.server, p.token = "http://"+address, token
	if p.client, err = client.New(client.Config{Server: p.server, Token: token, Name: "bench"}); err != nil {
		return contract.Info{}, err
	}
	v, err := p.client.Version(ctx)
	if err != nil {
		return contract.Info{}, err
	}
	return contract.Info{Version: v.Version, Works: []string{"empty", "fibo", "steps", "fan", "payload", "many", "backlog", "load"}}, nil
}

func (p *peer) Deploy(ctx context.Context) error {
	for name, source := range sources {
		path := p.lane.path(name)
		script := object{"path": path, "content": source, "language": "python3", "summary": "benchmark",
			"auto_parent": true, "dedicated_worker": p.lane == "dedicated"}
		if network, ok := networks[name]; ok {
			script["network"] = network
		}
		err := p.create(ctx, script)
		if err != nil {
			return fmt.Errorf("deploy %s: %w", name, err)
		}
		for {
			got, err := p.client.Script(ctx, path)
			if err != nil {
				return err
			}
			if got.LockErrorLogs != "" {
				return fmt.Errorf("dependencies of %s: %s", name, got.LockErrorLogs)
			}
			if got.Lock != nil {
				break
			}
			<-time.After(20 * time.Millisecond)
		}
	}
	flows, err := p.lane.flows()
	for name, value := range flows {
		if err == nil {
			err = p.deployFlow(ctx, p.lane.path(name), value)
		}
	}
	return err
}

// deployFlow comes back when the flow is ready to run.
func (p *peer) deployFlow(ctx context.Context, path string, value json.RawMessage) error {
	body, err := json.Marshal(object{"path": path, "summary": "benchmark", "value": value})
	if err != nil {
		return err
	}
	if _, err := p.client.DeployFlow(ctx, path, body, true); err != nil {
		return fmt.Errorf("deploy %s: %w", path, err)
	}
	return nil
}

// create deploys a script; the client has no field for the dedicated mode.
func (p *peer) create(ctx context.Context, script object) error {
	body, err := json.Marshal(script)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.server+"/api/w/main/scripts/create", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+p.token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // read to its end
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusCreated {
		err = fmt.Errorf("status %d: %s", resp.StatusCode, answer)
	}
	return err
}

func (p *peer) One(ctx context.Context, r contract.Request) (any, [][3]float64, error) {
	run := client.Run{}
	switch r.Work {
	case "payload":
		return p.payload(ctx, r.Text)
	case "empty", "steps":
		run.Path, run.Args = p.lane.path(r.Work), fmt.Appendf(nil, `{"n":%s}`, r.Arg)
		if r.Urgent {
			run.Priority = 100
		}
	case "fibo":
		run.FlowPath, run.Args = p.lane.path(fiboFlow(r.N)), fmt.Appendf(nil, `{"k":%d}`, r.K)
	case "fan":
		run.FlowPath, run.Args = p.lane.path("fan"), fmt.Appendf(nil, `{"n":%d}`, r.N)
	}
	if r.Spans {
		return p.spans(ctx, run)
	}
	result, err := p.client.RunWait(ctx, run)
	if err != nil {
		return nil, nil, err
	}
	switch r.Work {
	case "empty", "steps":
		return result, nil, nil
	case "fibo":
		return fiboResult(result)
	}
	var list []int
	if err := json.Unmarshal(result, &list); err != nil {
		return nil, nil, fmt.Errorf("result of the loop: %w", err)
	}
	sum := 0
	for _, n := range list {
		sum += n
	}
	return sum, nil, nil
}

func (p *peer) payload(ctx context.Context, text string) (any, [][3]float64, error) {
	args, err := json.Marshal(map[string]string{"text": text})
	if err != nil {
		return nil, nil, err
	}
	result, err := p.client.RunWait(ctx, client.Run{Path: p.lane.path("payload"), Args: args})
	if err != nil {
		return nil, nil, err
	}
	var got string
	err = json.Unmarshal(result, &got)
	return got, nil, err
}

// fiboResult takes the list of numbers and the times apart. When a step was created is not known inside it; the end of the step before
// stands for that.
func fiboResult(result json.RawMessage) (any, [][3]float64, error) {
	var state struct {
		Values []int        `json:"values"`
		Times  [][2]float64 `json:"times"`
	}
	if err := json.Unmarshal(result, &state); err != nil {
		return nil, nil, fmt.Errorf("result of the flow: %w", err)
	}
	var spans [][3]float64
	for i, t := range state.Times {
		created := t[0]
		if i > 0 {
			created = state.Times[i-1][1]
		}
		spans = append(spans, [3]float64{created, t[0], t[1]})
	}
	return state.Values, spans, nil
}

// spans runs a flow and reads the times of its steps from their records.
func (p *peer) spans(ctx context.Context, run client.Run) (any, [][3]float64, error) {
	id, err := p.client.Run(ctx, run)
	if err != nil {
		return nil, nil, err
	}
	if _, err := p.client.Follow(ctx, id, func(client.Update) error { return nil }); err != nil {
		return nil, nil, err
	}
	result, err := p.client.Result(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	jobs, err := p.client.Jobs(ctx, url.Values{"parent_job": {id.String()}, "per_page": {"1000"}})
	if err != nil {
		return nil, nil, err
	}
	micro := func(t time.Time) float64 { return float64(t.UnixNano()) / 1000 }
	var out [][3]float64
	for _, j := range jobs {
		if j.StartedAt != nil && j.CompletedAt != nil {
			out = append(out, [3]float64{micro(j.CreatedAt), micro(*j.StartedAt), micro(*j.CompletedAt)})
		}
	}
	value, _, err := fiboResult(result)
	slices.SortFunc(out, func(a, b [3]float64) int { return int(a[1] - b[1]) })
	return value, out, err
}

func (p *peer) batch(ctx context.Context, n int) (*client.Batch, error) {
	var rows strings.Builder
	for i := range n {
		fmt.Fprintf(&rows, "{\"n\":%d}\n", i)
	}
	id, err := p.client.RunBatch(ctx, client.BatchRun{Path: p.lane.path("empty"), Format: "ndjson", Rows: strings.NewReader(rows.String())})
	if err != nil {
		return nil, err
	}
	return p.client.GetBatch(ctx, id)
}

func (p *peer) Many(ctx context.Context, r contract.Request) (sum int, times [3]float64, err error) {
	times[0] = contract.Now()
	b, err := p.batch(ctx, r.N)
	times[1] = contract.Now()
	for err == nil && !b.Over {
		<-time.After(pollEvery)
		b, err = p.client.GetBatch(ctx, b.ID)
	}
	times[2] = contract.Now()
	if err != nil {
		return 0, times, err
	}
	if b.Failed > 0 || b.Done != int64(r.N) {
		return 0, times, fmt.Errorf("%d of %d done, %d failed", b.Done, r.N, b.Failed)
	}
	err = p.client.BatchResults(ctx, b.ID, "", func(row client.BatchRow) error {
		var n int
		if row.Result == nil {
			return errors.New("a row without a result")
		}
		err := json.Unmarshal(*row.Result, &n)
		sum += n
		return err
	})
	return sum, times, err
}

func (p *peer) Backlog(ctx context.Context, r contract.Request) error {
	_, err := p.batch(ctx, r.N)
	return err
}

func (p *peer) Load(ctx context.Context, r contract.Request) error {
	var rows strings.Builder
	for i := range r.N {
		fmt.Fprintf(&rows, "{\"i\":%d,\"port\":%d}\n", i, r.K)
	}
	_, err := p.client.RunBatch(ctx, client.BatchRun{Path: p.lane.path("mark"), Format: "ndjson", Rows: strings.NewReader(rows.String())})
	return err
}

func (p *peer) Stop(context.Context) error {
	if p.daemon == nil {
		return nil
	}
	_ = p.daemon.Process.Signal(syscall.SIGTERM) // it may be gone already
	_ = p.daemon.Wait()                          // how it ended is in its log
	return nil
}
