package store_test

import (
	"testing"

	"github.com/millrace/millrace/engine/store"
	"github.com/millrace/millrace/engine/store/storetest"
)

// TestDurableWhateverTheServer accepts jobs on a server whose default gives up durability, or asks for more of it.
func TestDurableWhateverTheServer(t *testing.T) {
	t.Parallel()
	url := storetest.URL(t)
	first := storetest.Open(t, url)
	for server, want := range map[string]string{"off": "on", "remote_apply": "remote_apply"} {
		storetest.Exec(t, first, "alter database "+storetest.Name(t, first)+" set synchronous_commit = "+server)
		db := storetest.Open(t, url)
		var got string
		err := db.InTx(t.Context(), func(tx store.Tx) error {
			return tx.QueryRow(t.Context(), "select current_setting('synchronous_commit')").Scan(&got)
		})
		if err != nil || got != want {
			t.Errorf("the server says %s: the pool commits with %s, %v", server, got, err)
		}
	}
}
