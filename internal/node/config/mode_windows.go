package config

// modesMean: permission bits say nothing here.
const modesMean = false
