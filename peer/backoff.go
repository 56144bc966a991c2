package peer

import (
	"math"
	"math/rand/v2"
	"time"
)

const (
	minBackoff = 250 * time.Millisecond
	maxBackoff = 30 * time.Second
	// growth keeps the wait below how long the device has been away, so that who is
	// back soon is called soon, even if nothing tells of it.
	growth = 1.3
)

// backoff returns how long to wait after so many failures in a row: from minBackoff to
// maxBackoff, half of it random so that devices that lost each other at the same moment do
// not call at the same moment.
func backoff(failures int) time.Duration {
	d := time.Duration(min(float64(maxBackoff), float64(minBackoff)*math.Pow(growth, float64(failures))))
	return d/2 + rand.N(d/2)
}
