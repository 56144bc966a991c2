//go:build race

package peer

// scale makes transfers smaller where the race detector makes them slow.
const scale = 4
