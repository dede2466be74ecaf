// Package dirtable turns the bytes of a directory into names, caps and
// metadata, and back: netstrings, names in Unicode's NFC, write caps encrypted
// for those who may write, links' times.
//
// It does not fetch or store directories, follows no links and knows no clock.
// The bytes come proven from a file, but whoever wrote that file may be
// hostile or mad: a child that makes no sense is an error of that child alone,
// and its entry is kept when the directory is written again. Format:
// docs/formats/directory.md, and the reference's
// docs/specifications/dirnodes.rst.
//
// Start with [Parse], [Table.All] and [Entry.Child]; then [NewChild],
// [Table.Set] and [Table.Bytes]. New directories begin with [New] and
// [NewImmutable].
package dirtable
