package crdt

import "time"

// SetJustStored shortens for how long a new object is left alone, until the function that it
// returns is called.
func SetJustStored(d time.Duration) (restore func()) {
	was := justStored
	justStored = d
	return func() { justStored = was }
}
