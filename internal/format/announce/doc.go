// Package announce has what nodes say of themselves on a grid: announcements
// signed with ed25519, the storage servers in them, and the certificates by
// which a grid manager vouches for a server.
//
// It talks to no introducer, keeps no files and trusts nobody by itself: a
// good signature only says whose words these are. An announcement holds the
// server's swissnum, so none of the types shows its text. Format: version 2 of
// the introducer's protocol, the reference's docs/specifications and
// docs/managed-grid.rst.
//
// To publish: [Server.Sign]. To receive: [Signed.Verify], then
// [Announcement.Replaces] against what was known, then [Announcement.Server].
// [Announcement.Entry] and [ParseEntry] are for the cache, [ParseServer] is
// for lists of servers that need no signature.
package announce
