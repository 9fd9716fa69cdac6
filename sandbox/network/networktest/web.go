package networktest

import (
	"net"
	"net/http"
	"strconv"
	"testing"
)

// WebPort is where everybody answers over HTTP, with the address that they see.
const WebPort = 80

// web serves HTTP at an address, in the network namespace of the thread that calls it.
func web(t *testing.T, address string) error {
	t.Helper()
	l, err := net.Listen("tcp4", net.JoinHostPort(address, strconv.Itoa(WebPort)))
	if err != nil {
		return err
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		_, _ = w.Write([]byte(host))
	})}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	return nil
}
