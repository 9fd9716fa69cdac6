package auth_test

import (
	"slices"
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store/storetest"
)

func TestGroups(t *testing.T) {
	t.Parallel()
	url := storetest.URL(t)
	a, b := open(t, url, nil), open(t, url, nil)
	ctx, x := t.Context(), a.People()
	ann := engine.Principal{Username: "ann", Via: "token"}
	for _, m := range []engine.Member{{Username: "ann", Email: "ann@x"}, {Username: "lea", Email: "lea@x", Admin: true}} {
		m.Workspace = "main"
		if err := x.SetMember(ctx, admin, m); err != nil {
			t.Fatal(err)
		}
	}
	ops := engine.Group{Workspace: "main", Name: "ops", Summary: "who operates"}
	want(t, x.CreateGroup(ctx, ann, ops), engine.Forbidden, "only administrators")
	want(t, x.CreateGroup(ctx, admin, engine.Group{Workspace: "main", Name: "no/slash"}), engine.Invalid, "not a valid name")
	want(t, x.CreateGroup(ctx, admin, engine.Group{Workspace: "main", Name: "all"}), engine.Conflict, "every member")
	want(t, x.CreateGroup(ctx, admin, engine.Group{Workspace: "main", Name: "x", Summary: "\x00"}), engine.Invalid, "summary")
	want(t, x.CreateGroup(ctx, admin, engine.Group{Workspace: "none", Name: "x"}), engine.NotFound, "workspace none")
	if err := x.CreateGroup(ctx, admin, ops); err != nil {
		t.Fatal(err)
	}
	want(t, x.CreateGroup(ctx, admin, ops), engine.Conflict, "already")
	want(t, x.AddToGroup(ctx, admin, "main", "none", "ann"), engine.NotFound, "no such group")
	want(t, x.AddToGroup(ctx, admin, "main", "ops", "eve"), engine.NotFound, "not a member")
	want(t, x.AddToGroup(ctx, ann, "main", "ops", "ann"), engine.Forbidden, "only administrators")
	want(t, x.RemoveFromGroup(ctx, admin, "main", "ops", "ann"), engine.NotFound, "not in group")
	want(t, x.RemoveFromGroup(ctx, admin, "main", "none", "ann"), engine.NotFound, "no such group")
	want(t, x.UpdateGroup(ctx, admin, "main", "none", ""), engine.NotFound, "no such group")
	want(t, x.DeleteGroup(ctx, admin, "main", "none"), engine.NotFound, "no such group")
	want(t, x.DeleteGroup(ctx, admin, "main", "all"), engine.Conflict, "every member")
	for _, name := range []string{"lea", "ann", "ann"} { // twice does no harm
		if err := x.AddToGroup(ctx, admin, "main", "ops", name); err != nil {
			t.Fatal(err)
		}
	}
	if got := a.GroupsOf("ann", "main"); !slices.Equal(got, []string{"all", "ops"}) {
		t.Errorf("ann is in %v", got)
	}
	eventually(t, "the other daemon knows the group", func() bool { return len(b.GroupsOf("ann", "main")) == 2 })
	if got := a.GroupsOf("ann", "admins"); !slices.Equal(got, []string{"all"}) {
		t.Errorf("elsewhere ann is in %v", got)
	}
	list, err := x.Groups(ctx, ann, "main")
	if err != nil || len(list) != 2 || list[0].Name != "all" || !slices.Equal(list[0].Members, []string{"admin", "ann", "lea"}) ||
		list[1].Summary != "who operates" || !slices.Equal(list[1].Members, []string{"ann", "lea"}) {
		t.Errorf("groups %+v, %v", list, err)
	}
	_, err = x.Groups(ctx, engine.Principal{Username: "eve"}, "main")
	want(t, err, engine.Forbidden, "not a member")
	members, err := x.Members(ctx, ann, "main")
	if err != nil || len(members) != 3 || members[1].Email != "ann@x" || members[1].Admin || !members[2].Admin || len(members[1].Groups) != 2 {
		t.Errorf("members %+v, %v", members, err)
	}
	if err := x.SetMember(ctx, admin, engine.Member{Workspace: "main", Username: "lea"}); err != nil { // without an email: it stays
		t.Fatal(err)
	}
	if members, err = x.Members(ctx, ann, "main"); err != nil || members[2].Email != "lea@x" || members[2].Admin {
		t.Errorf("lea is %+v, %v", members, err)
	}
	if err := x.DeleteGroup(ctx, admin, "main", "ops"); err != nil || len(a.GroupsOf("ann", "main")) != 1 {
		t.Errorf("deleted: %v, ann is in %v", err, a.GroupsOf("ann", "main"))
	}
}

// TestTokenForAMember: only an administrator of the instance makes it, and it ends with the membership.
func TestTokenForAMember(t *testing.T) {
	t.Parallel()
	a := open(t, storetest.URL(t), nil)
	ctx, x := t.Context(), a.People()
	if err := x.SetMember(ctx, admin, engine.Member{Workspace: "main", Username: "ann", Email: "ann@x"}); err != nil {
		t.Fatal(err)
	}
	r := engine.TokenRequest{For: "ann@x", Workspace: "main", Admin: true}
	_, _, err := a.Tokens().Create(ctx, engine.Principal{Username: "ann", Via: "token"}, r)
	want(t, err, engine.Forbidden, "administrators")
	_, _, err = a.Tokens().Create(ctx, admin, engine.TokenRequest{For: "eve@x"})
	want(t, err, engine.NotFound, "nobody with this email")
	_, _, err = a.Tokens().Create(ctx, admin, engine.TokenRequest{For: "ann@x", Workspace: "admins"})
	want(t, err, engine.NotFound, "nobody with this email")
	secret, _, err := a.Tokens().Create(ctx, admin, r)
	if err != nil {
		t.Fatal(err)
	}
	p, err := a.Authenticate(ctx, secret)
	if err != nil || p != (engine.Principal{Username: "ann", Email: "ann@x", Workspace: "main", Via: "token"}) {
		t.Errorf("principal %+v, %v", p, err)
	}
	want(t, x.RemoveMember(ctx, admin, "main", "admin"), engine.Conflict, "themselves")
	want(t, x.RemoveMember(ctx, admin, "main", "eve"), engine.NotFound, "not a member")
	if err := x.RemoveMember(ctx, admin, "main", "ann"); err != nil {
		t.Fatal(err)
	}
	_, err = a.Authenticate(ctx, secret)
	want(t, err, engine.Unauthorized, "no such token")
}
