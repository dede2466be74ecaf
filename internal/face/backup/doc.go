// Package backup copies a folder of this machine into immutable directories
// on the grid, and sends nothing that it has sent before.
//
// What was sent is remembered in private/backupdb.sqlite (db.go), with the
// reference's schema, docs/backupdb.rst there, so that both programs can use
// one file. A run walks the folder (walk.go), asks the database about each
// file, sends what is new (files.go), makes a directory for each folder from
// the deepest up unless one with the same content is known (folders.go), and
// links the last into the target under a date (backup.go).
//
// It decides nothing about servers or shares and edits no directory but the
// target: it speaks to a Gateway. Start with Open and Run.
package backup
