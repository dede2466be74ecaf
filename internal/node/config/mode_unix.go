//go:build !windows

package config

// modesMean: permission bits say who may read a file.
const modesMean = true
