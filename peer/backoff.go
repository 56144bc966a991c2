package peer

import (
	"math/rand/v2"
	"time"
)

const (
	minBackoff = 250 * time.Millisecond
	maxBackoff = 30 * time.Second
)

// backoff returns how long to wait after so many failures in a row: doubling from
// minBackoff to maxBackoff, half of it random so that devices that lost each other at the
// same moment do not call at the same moment.
func backoff(failures int) time.Duration {
	d := maxBackoff
	if failures < 8 {
		d = min(maxBackoff, minBackoff<<failures)
	}
	return d/2 + rand.N(d/2)
}
