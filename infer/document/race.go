//go:build race

package document

// The race detector reserves terabytes of address space.
const limitAddresses = false
