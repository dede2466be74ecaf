package tagged

import (
	"crypto/sha1"
	"crypto/sha256"

	"tahoe-go/internal/codec/ids"
)

const (
	tagClientRenewal = "allmydata_client_renewal_secret_v1"
	tagClientCancel  = "allmydata_client_cancel_secret_v1"
	tagFileRenewal   = "allmydata_file_renewal_secret_v1"
	tagFileCancel    = "allmydata_file_cancel_secret_v1"
	tagBucketRenewal = "allmydata_bucket_renewal_secret_v1"
	tagBucketCancel  = "allmydata_bucket_cancel_secret_v1"
)

// LeaseRenew is the renewal secret that the owner of master (private/secret)
// gives the server with tub id peer for its lease on si.
func LeaseRenew(master []byte, si ids.Index, peer [20]byte) Hash {
	return BucketRenewal(FileRenewal(ClientRenewal(master), si), peer)
}

// LeaseCancel is the cancel secret of the same lease.
func LeaseCancel(master []byte, si ids.Index, peer [20]byte) Hash {
	return BucketCancel(FileCancel(ClientCancel(master), si), peer)
}

// ClientRenewal is the first step of LeaseRenew. The master secret stands
// where the tag belongs and the tag where the data does: an old slip that is
// now the format.
func ClientRenewal(master []byte) Hash { return Sum(string(master), []byte(tagClientRenewal)) }

// ClientCancel is the first step of LeaseCancel, with the same slip.
func ClientCancel(master []byte) Hash { return Sum(string(master), []byte(tagClientCancel)) }

// FileRenewal is the second step of LeaseRenew.
func FileRenewal(client Hash, si ids.Index) Hash { return Pair(tagFileRenewal, client[:], si[:]) }

// FileCancel is the second step of LeaseCancel.
func FileCancel(client Hash, si ids.Index) Hash { return Pair(tagFileCancel, client[:], si[:]) }

// BucketRenewal is the third step of LeaseRenew.
func BucketRenewal(file Hash, peer [20]byte) Hash { return Pair(tagBucketRenewal, file[:], peer[:]) }

// BucketCancel is the third step of LeaseCancel.
func BucketCancel(file Hash, peer [20]byte) Hash { return Pair(tagBucketCancel, file[:], peer[:]) }

const (
	tagWriteKey           = "allmydata_mutable_privkey_to_writekey_v1"
	tagWriteEnablerMaster = "allmydata_mutable_writekey_to_write_enabler_master_v1"
	tagWriteEnabler       = "allmydata_mutable_write_enabler_master_and_nodeid_to_write_enabler_v1"
	tagFingerprint        = "allmydata_mutable_pubkey_to_fingerprint_v1"
	tagReadKey            = "allmydata_mutable_writekey_to_readkey_v1"
	tagDataKey            = "allmydata_mutable_readkey_to_datakey_v1"
	tagMutableIndex       = "allmydata_mutable_readkey_to_storage_index_v1"
	tagChildKey           = "allmydata_mutable_writekey_and_salt_to_dirnode_child_capkey_v1"
	tagChildSalt          = "allmydata_dirnode_child_rwcap_to_salt_v1"
)

// WriteKey is the write key of a mutable file, from its RSA private key in
// PKCS#8 DER.
func WriteKey(privateDER []byte) [16]byte { return first16(Sum(tagWriteKey, privateDER)) }

// ReadKey is the read key that a write key gives.
func ReadKey(writekey [16]byte) [16]byte { return first16(Sum(tagReadKey, writekey[:])) }

// MutableIndex names the shares of a mutable file.
func MutableIndex(readkey [16]byte) ids.Index { return first16(Sum(tagMutableIndex, readkey[:])) }

// DataKey encrypts one version (SDMF) or one segment (MDMF) of a mutable
// file; salt is its IV.
func DataKey(salt, readkey [16]byte) [16]byte {
	return first16(Pair(tagDataKey, salt[:], readkey[:]))
}

// Fingerprint identifies the RSA public key in SubjectPublicKeyInfo DER.
func Fingerprint(publicDER []byte) Hash { return Sum(tagFingerprint, publicDER) }

// WriteEnablerMaster is what every server's write enabler is derived from.
func WriteEnablerMaster(writekey [16]byte) Hash { return Sum(tagWriteEnablerMaster, writekey[:]) }

// WriteEnabler is the secret that lets its holder change the file's shares on
// the server with tub id peer.
func WriteEnabler(writekey [16]byte, peer [20]byte) Hash {
	master := WriteEnablerMaster(writekey)
	return Pair(tagWriteEnabler, master[:], peer[:])
}

// ChildSalt is the salt under which a directory encrypts a child's write cap.
func ChildSalt(rwcap []byte) [16]byte { return first16(Sum(tagChildSalt, rwcap)) }

// ChildKey is the key under which a directory encrypts a child's write cap.
func ChildKey(salt, writekey [16]byte) [16]byte {
	return first16(Pair(tagChildKey, salt[:], writekey[:]))
}

// ChildMAC is the trailer of an encrypted child entry; data is salt and
// ciphertext. It looks like HMAC-SHA256 but does not pad the key, so
// crypto/hmac gives something else. Readers do not check it.
func ChildMAC(key, data []byte) Hash {
	pad := make([]byte, len(key), len(key)+max(len(data), sha256.Size))
	inner := sha256.Sum256(append(xor(pad, key, 0x36), data...))
	return sha256.Sum256(append(xor(pad, key, 0x5c), inner[:]...))
}

func xor(dst, src []byte, b byte) []byte {
	for i, c := range src {
		dst[i] = c ^ b
	}
	return dst
}

// Permutation is a server's place in the order of servers for si: sort
// ascending as bytes. seed is the permutation seed its announcement gave.
func Permutation(si ids.Index, seed []byte) [sha1.Size]byte {
	h := sha1.New()
	h.Write(si[:])
	h.Write(seed)
	return [sha1.Size]byte(h.Sum(nil))
}
