//go:build !race

package peer

const scale = 1
