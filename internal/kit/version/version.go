// Package version holds the program's name and number.
package version

// Number is the release, as `tahoe --version` prints it.
const Number = "0.1.0"

// Application is what a node says of itself to peers. It is the same on
// every machine: no system, no build date.
const Application = "tahoe-go/" + Number
