package nsjail

import (
	"context"
	"strings"
	"testing"

	"github.com/millrace/millrace/sandbox"
)

func TestDevicesAreRefused(t *testing.T) {
	t.Parallel()
	_, err := (&Isolator{}).Open(context.Background(), sandbox.Template{Name: "exec", Network: sandbox.NetworkNone, Devices: []string{"0000:17:00.0"}})
	if err == nil || !strings.Contains(err.Error(), "GPUs cannot be had with nsjail") {
		t.Error(err)
	}
}
