// Package ini reads and edits tahoe.cfg text with the meaning Python's
// ConfigParser(strict=False) gives it, so that both programs read the same
// file the same way.
//
// What that means: "[section]" lines, "key = value" or "key: value", keys
// without regard to case, whole-line comments only (# or ;), deeper indented
// lines continue a value, the last of repeated keys wins, [DEFAULT] backs
// every section, and "%" is live in values: "%%" is one percent sign,
// "%(key)s" is another value.
//
// It knows nothing of which sections and keys exist; package config does.
// Start with Parse, then File.Get; File.Set and File.Remove edit a file and
// keep its comments and layout.
package ini
