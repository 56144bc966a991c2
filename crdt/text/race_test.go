//go:build race

package text

// underRace tells that everything takes ten times as long.
const underRace = true
