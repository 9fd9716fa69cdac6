// Package e2e tests the product as its users have it: the built binaries, a private database, real sandboxes, requests over
// the local socket. It holds tests only.
package e2e
