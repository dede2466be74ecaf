// Package chk turns the plaintext of an immutable file into shares and shares
// back into plaintext: segments, AES-CTR, erasure code, hash trees, UEB, and
// the share layouts v1 and v2.
//
// It does not know servers, leases or storage indexes, keeps no files and
// decides nothing about where shares go. What it reads from a share is
// hostile until a hash that hangs on the cap's UEB hash has proven it; no
// unproven byte leaves the package. Format: docs/formats/chk.md, and the
// reference's docs/specifications/file-encoding.rst.
//
// To write: [ConvergentKey] or a random key, [NewEncoder], its Segments, then
// its Trailer. To read: [NewFile], [File.OpenShare], [Share.Block] for any k
// shares, [File.Decode], [Cipher.XOR]. Files of at most
// caps.MaxLIT bytes are not encoded at all; a LIT cap holds them.
package chk
