package auth

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
)

func TestJobTokenEnds(t *testing.T) {
	a := &Auth{cfg: Config{JobLife: time.Hour}, key: make([]byte, 32)}
	now := time.Now()
	for _, c := range []struct {
		timeout, alive, over time.Duration
	}{
		{0, 59 * time.Minute, 61 * time.Minute},
		{time.Minute, 10 * time.Minute, 12 * time.Minute},
		{48 * time.Hour, 48 * time.Hour, 49 * time.Hour},
	} {
		secret := a.JobToken(&engine.Job{ID: uuid.New(), Workspace: "main", CreatedBy: "ann", Timeout: c.timeout})
		if _, err := a.openJobToken(secret, now.Add(c.over)); engine.CodeOf(err) != engine.Unauthorized {
			t.Errorf("timeout %s, after %s: %v", c.timeout, c.over, err)
		}
		if _, err := a.openJobToken(secret, now.Add(c.alive)); err != nil {
			t.Errorf("timeout %s, after %s: %v", c.timeout, c.alive, err)
		}
	}
}

func FuzzJobToken(f *testing.F) {
	a := &Auth{cfg: Config{JobLife: time.Hour}, key: []byte("secret")}
	good := a.sign(jobClaims{id: uuid.New(), end: 1 << 40, workspace: "main", username: "ann", email: "ann@x"})
	f.Add(good[:len(good)-32])
	f.Add([]byte{})
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := readClaims(b)
		if err != nil {
			return
		}
		again := a.sign(c)
		if string(again[:len(again)-32]) != string(b) {
			t.Errorf("%x is read as %+v, which is written as %x", b, c, again)
		}
	})
}
