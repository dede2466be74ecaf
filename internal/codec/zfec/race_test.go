//go:build race

package zfec_test

const raceEnabled = true
