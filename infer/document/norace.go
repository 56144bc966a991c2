//go:build !race

package document

const limitAddresses = true
