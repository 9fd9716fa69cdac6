package web

import (
	"bytes"
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"errors"
	"html/template"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/web/api"
)

//go:embed approve.html
var approveHTML string

var approvePage = template.Must(template.New("approve").Parse(approveHTML))

// approval is what the page of a link shows.
type approval struct {
	Title, Text, JSON, State, Wrong, Approvers, Nonce string
	Approval                                          *engine.Approval
	Fields                                            []field
	Open, HideCancel, AskToken                        bool
}

// approvalRoutes are the pages of links: looking at one answers nothing, since scanners of mail follow links too.
func (s *Server) approvalRoutes() []api.Route {
	html := api.Shape{Type: "text/html; charset=utf-8", Doc: "a page"}
	const path = "/approve/{workspace}/{id}/{resume_id}/{signature}"
	approver := api.Param{Name: "approver", Type: "string", Doc: "whom the link is for; it is part of what is signed"}
	return []api.Route{
		{Method: "GET", Path: path, Name: "approvalPage", Group: "pages", Access: api.Link, Params: []api.Param{approver},
			Summary: "The page on which a flow that waits for approval is answered", Answer: html, Handle: s.showApproval},
		{Method: "POST", Path: path, Name: "approvalAnswer", Group: "pages", Access: api.Link, Params: []api.Param{approver},
			Body:    api.Shape{Type: "application/x-www-form-urlencoded", Doc: "the form of the page"},
			Summary: "Answers as the page does", Answer: html, Handle: s.takeApproval},
	}
}

func (s *Server) showApproval(a *api.Ask) error {
	answer, err := a.Answer()
	if err != nil {
		return s.noApproval(a, err)
	}
	shown, err := s.cfg.FlowRuns.Approval(a.Base, answer)
	if err != nil {
		return s.noApproval(a, err)
	}
	return render(a, fasthttp.StatusOK, s.page(a, shown))
}

func (s *Server) takeApproval(a *api.Ask) error {
	answer, err := a.Answer()
	if err != nil {
		return s.noApproval(a, err)
	}
	shown, err := s.cfg.FlowRuns.Approval(a.Base, answer)
	if err != nil {
		return s.noApproval(a, err)
	}
	p := s.page(a, shown)
	form := a.PostArgs()
	switch string(form.Peek("_answer")) {
	case "approve":
		answer.Approved = true
		answer.Payload, err = read(p.Fields, form)
	case "deny":
		if shown.HideCancel {
			err = errors.New("this step can only be approved")
		}
	default:
		err = errors.New("say whether you approve")
	}
	if err != nil {
		p.Wrong = err.Error()
		return render(a, fasthttp.StatusBadRequest, p)
	}
	who := a.Who
	if token := strings.TrimSpace(string(form.Peek("_token"))); token != "" {
		if who, err = s.cfg.Auth.Authenticate(a.Base, token); err != nil {
			p.Wrong = "The token is not valid."
			return render(a, fasthttp.StatusUnauthorized, p)
		}
	}
	if err := s.cfg.FlowRuns.Vote(a.Base, who, answer); err != nil {
		status, text := api.Describe(err)
		if status >= fasthttp.StatusInternalServerError {
			return err
		}
		p.Wrong = text
		return render(a, status, p)
	}
	a.Response.Header.Set("Location", string(a.RequestURI()))
	return render(a, fasthttp.StatusSeeOther, p)
}

// page makes what is shown of an approval.
func (s *Server) page(a *api.Ask, v *engine.Approval) *approval {
	p := &approval{Title: v.Summary, Approval: v, HideCancel: v.HideCancel, Fields: fieldsOf(v.Schema)}
	if p.Title == "" {
		p.Title = "Approval"
	}
	var text string
	var indented bytes.Buffer
	switch {
	case len(v.Description) == 0 || string(v.Description) == "null":
	case json.Unmarshal(v.Description, &text) == nil:
		p.Text = text
	case json.Indent(&indented, v.Description, "", "  ") == nil:
		p.JSON = indented.String()
	}
	var names []string
	for _, x := range v.Approvers {
		names = append(names, x.Approver)
	}
	if !v.Minimal {
		p.Approvers = strings.Join(names, ", ")
	}
	p.Open = v.State == engine.ApprovalWaiting || v.State == engine.ApprovalEarly
	p.AskToken = p.Open && v.Login && a.Who.Username == ""
	switch v.State {
	case engine.ApprovalWaiting:
		if v.Until != nil {
			p.State = "The flow waits for your answer until " + v.Until.UTC().Format("2 January 2006 15:04") + " UTC."
		}
	case engine.ApprovalEarly:
		p.State = "The flow has not come to this question yet. Your answer is kept until it has."
	case engine.ApprovalOver:
		p.State = "No answer is needed any more: the flow has gone on."
	case engine.ApprovalAnswered:
		verb := "Denied"
		if v.Mine.Approved {
			verb = "Approved"
		}
		p.State = verb + " by " + v.Mine.Approver + ", " + v.Mine.At.UTC().Format("2 January 2006 15:04") + " UTC."
	}
	return p
}

// noApproval is the page of a link that leads nowhere.
func (s *Server) noApproval(a *api.Ask, err error) error {
	status, text := api.Describe(err)
	if status >= fasthttp.StatusInternalServerError {
		return err
	}
	return render(a, status, &approval{Title: "There is nothing to approve", Wrong: text})
}

// render writes the page: nothing from elsewhere, no script but its own, in no frame, and its address, which is a secret, told to nobody.
func render(a *api.Ask, status int, p *approval) error {
	p.Nonce = rand.Text()
	var b bytes.Buffer
	if err := approvePage.Execute(&b, p); err != nil {
		return err
	}
	h := &a.Response.Header
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'nonce-"+p.Nonce+"'; script-src 'nonce-"+p.Nonce+
		"'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	api.Bytes(a.RequestCtx, status, "text/html; charset=utf-8", b.Bytes())
	return nil
}
