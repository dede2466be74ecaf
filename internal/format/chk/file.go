package chk

// Info is what a cap says of a file besides the key: enough to verify.
type Info struct {
	UEBHash Hash
	K, N    int
	Size    int64 // of the plaintext in bytes
}
