// Package config reads, checks and writes node directories: tahoe.cfg, the
// identity files beside it, and the yaml files in private/, as the reference
// implementation lays them out.
//
// Load returns plain structs with every default filled in, paths absolute,
// and every problem of the configuration at once, each with file, line, reason
// and remedy. Create writes a new directory; EnsureIdentity makes the secrets
// that a node needs to run.
//
// The keys are the table in keys.go; docs/configuration.md is made from it.
// It knows the file's rules, privacy included, and nothing of how they are
// carried out: package node translates. Nothing here opens a socket.
package config
