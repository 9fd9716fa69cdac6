//go:build !race

package expr

// bounded tells whether a helper limits the memory of its process.
const bounded = true
