// Package tagged has every hash and derivation of the field: SHA-256d under a
// netstring tag, cut to 16 bytes where the formats say so, and the SHA-1 that
// orders servers.
//
// It holds no state, draws no random numbers and does not encrypt. The tags
// are wire format: changing one makes every file ever stored unreadable.
// What each value means: docs/formats and the reference's
// docs/specifications/uri.rst, file-encoding, mutable.rst and dirnodes.rst.
//
// Start with [Sum] and [Hasher]; hot loops use [NewBlock] with Reset.
package tagged

import (
	"fmt"

	"tahoe-go/internal/codec/ids"
	"tahoe-go/internal/codec/netstring"
)

const (
	tagStorageIndex     = "allmydata_immutable_key_to_storage_index_v1"
	tagBlock            = "allmydata_encoded_subshare_v1"
	tagUEB              = "allmydata_uri_extension_v1"
	tagPlaintext        = "allmydata_plaintext_v1"
	tagCrypttext        = "allmydata_crypttext_v1"
	tagCrypttextSegment = "allmydata_crypttext_segment_v1"
	tagPlaintextSegment = "allmydata_plaintext_segment_v1"
	tagConvergence      = "allmydata_immutable_content_to_key_with_added_secret_v1+"
	tagBackupDir        = "allmydata_backupdb_dirhash_v1"
	tagTreeNode         = "Merkle tree internal node"
	tagTreeEmpty        = "Merkle tree empty leaf"
)

var (
	blocks            = newPool(tagBlock)
	crypttextSegments = newPool(tagCrypttextSegment)
)

// NewBlock hashes one block of a share, tail blocks with their zero padding.
func NewBlock() *Hasher { return New(tagBlock) }

// Block is the hash of one whole block.
func Block(data []byte) Hash { return blocks.hash(data) }

// NewCrypttext hashes the whole ciphertext of a file.
func NewCrypttext() *Hasher { return New(tagCrypttext) }

// NewCrypttextSegment hashes one segment of ciphertext, without padding.
func NewCrypttextSegment() *Hasher { return New(tagCrypttextSegment) }

// CrypttextSegment is the hash of one whole segment of ciphertext.
func CrypttextSegment(data []byte) Hash { return crypttextSegments.hash(data) }

// NewPlaintext hashes the whole plaintext; an optional UEB field that today's
// writers leave out.
func NewPlaintext() *Hasher { return New(tagPlaintext) }

// NewPlaintextSegment hashes one segment of plaintext; see NewPlaintext.
func NewPlaintextSegment() *Hasher { return New(tagPlaintextSegment) }

// UEB is the hash of a packed URI extension block, as caps carry it.
func UEB(ueb []byte) Hash { return Sum(tagUEB, ueb) }

// NewConvergence hashes plaintext into a convergent key: Sum16 is the key.
// segsize is the largest segment size in bytes, already rounded up to a
// multiple of k; secret is the convergence secret, any length.
func NewConvergence(k, n int, segsize int64, secret []byte) *Hasher {
	tag := netstring.Append([]byte(tagConvergence), secret)
	tag = netstring.Append(tag, fmt.Sprintf("%d,%d,%d", k, n, segsize))
	return New(string(tag))
}

// StorageIndex names the shares of the immutable file encrypted with key.
func StorageIndex(key [16]byte) ids.Index {
	return first16(Sum(tagStorageIndex, key[:]))
}

// BackupDir names a directory's contents in the backup database.
func BackupDir(contents []byte) Hash { return Sum(tagBackupDir, contents) }

// TreeNode is the Merkle node over its left and right child.
func TreeNode(left, right *Hash) Hash { return Pair(tagTreeNode, left[:], right[:]) }

// TreeEmpty is the stand-in for leaf number i of a Merkle tree, beyond the
// real leaves.
func TreeEmpty(i int) Hash { return Sum(tagTreeEmpty, fmt.Append(nil, i)) }
