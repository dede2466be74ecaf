// Package ssk turns the contents of a mutable file into shares and shares back
// into contents: RSA keys and signatures, salts, AES-CTR, erasure code, hash
// trees, and the share layouts SDMF (one segment) and MDMF (segments of
// 128 KiB, changed one by one).
//
// It does not know servers, leases or write enablers, keeps no files and
// decides nothing about which version counts. What it reads from a share is
// hostile until it hangs by hashes on a root that the file's key has signed;
// no unproven byte leaves the package. Format: docs/formats/ssk.md, and the
// reference's docs/specifications/mutable.rst.
//
// To write: a [PrivateKey], then [Encode], or [NewUpdate] for a few segments
// of an MDMF file. To read: [NewFile], [File.Open] for each share found, then
// [Share.Blocks] of any k shares with equal [Version] and [Decoder.Segment].
package ssk
