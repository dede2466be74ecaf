//go:build !race

package zfec_test

const raceEnabled = false
