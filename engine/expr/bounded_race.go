//go:build race

package expr

// The race detector maps terabytes at the start and more with each allocation, which no limit for an expression can allow.
const bounded = false
