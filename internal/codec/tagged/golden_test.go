package tagged_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"slices"
	"testing"

	"tahoe-go/internal/codec/base32"
	"tahoe-go/internal/codec/ids"
	"tahoe-go/internal/codec/tagged"
)

func load(t *testing.T, name string, into any) {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
}

// hexBytes is bytes written in hex.
type hexBytes []byte

func (b *hexBytes) UnmarshalText(text []byte) (err error) {
	*b, err = hex.DecodeString(string(text))
	return err
}

// arg is {"hex": ...} or a number.
type arg struct {
	bytes hexBytes
	num   int
}

func (a *arg) UnmarshalJSON(text []byte) error {
	var b struct{ Hex hexBytes }
	if json.Unmarshal(text, &b) == nil {
		a.bytes = b.Hex
		return nil
	}
	return json.Unmarshal(text, &a.num)
}

func whole(h tagged.Hash) []byte { return h[:] }

func short(h [16]byte) []byte { return h[:] }

func streamed(h *tagged.Hasher, data []byte) []byte {
	h.Write([]byte("something hashed before"))
	h.Reset()
	for chunk := range slices.Chunk(data, 7) {
		h.Write(chunk)
	}
	return whole(h.Sum())
}

func key(b []byte) [16]byte    { return [16]byte(b) }
func peer(b []byte) [20]byte   { return [20]byte(b) }
func hash(b []byte) [32]byte   { return [32]byte(b) }
func index(b []byte) ids.Index { return ids.Index(b) }

// functions says which of ours is which of the reference's hashutil. Several
// results for one row must all be right.
var functions = map[string]func(a []arg) [][]byte{
	"block_hash": func(a []arg) [][]byte {
		return [][]byte{whole(tagged.Block(a[0].bytes)), streamed(tagged.NewBlock(), a[0].bytes)}
	},
	"uri_extension_hash": func(a []arg) [][]byte { return [][]byte{whole(tagged.UEB(a[0].bytes))} },
	"plaintext_hash": func(a []arg) [][]byte {
		return [][]byte{streamed(tagged.NewPlaintext(), a[0].bytes)}
	},
	"crypttext_hash": func(a []arg) [][]byte {
		return [][]byte{streamed(tagged.NewCrypttext(), a[0].bytes)}
	},
	"crypttext_segment_hash": func(a []arg) [][]byte {
		return [][]byte{whole(tagged.CrypttextSegment(a[0].bytes)), streamed(tagged.NewCrypttextSegment(), a[0].bytes)}
	},
	"plaintext_segment_hash": func(a []arg) [][]byte {
		return [][]byte{streamed(tagged.NewPlaintextSegment(), a[0].bytes)}
	},
	"storage_index_hash": func(a []arg) [][]byte {
		return [][]byte{short(tagged.StorageIndex(key(a[0].bytes)))}
	},
	"ssk_pubkey_fingerprint_hash": func(a []arg) [][]byte {
		return [][]byte{whole(tagged.Fingerprint(a[0].bytes))}
	},
	"backupdb_dirhash": func(a []arg) [][]byte { return [][]byte{whole(tagged.BackupDir(a[0].bytes))} },
	"tagged_hash": func(a []arg) [][]byte {
		h := tagged.New(string(a[0].bytes))
		h.Write(a[1].bytes)
		if len(a) == 3 {
			return [][]byte{short(h.Sum16())}
		}
		return [][]byte{whole(h.Sum()), whole(tagged.Sum(string(a[0].bytes), a[1].bytes))}
	},
	"tagged_pair_hash": func(a []arg) [][]byte {
		out := whole(tagged.Pair(string(a[0].bytes), a[1].bytes, a[2].bytes))
		if len(a) == 4 {
			out = out[:a[3].num]
		}
		return [][]byte{out}
	},
	"convergence_hash": func(a []arg) [][]byte {
		h := tagged.NewConvergence(a[0].num, a[1].num, int64(a[2].num), a[4].bytes)
		h.Write(a[3].bytes)
		first := short(h.Sum16())
		return [][]byte{first, streamed(h, a[3].bytes)[:16]}
	},
	"my_renewal_secret_hash": func(a []arg) [][]byte {
		return [][]byte{whole(tagged.ClientRenewal(a[0].bytes))}
	},
	"my_cancel_secret_hash": func(a []arg) [][]byte {
		return [][]byte{whole(tagged.ClientCancel(a[0].bytes))}
	},
	"file_renewal_secret_hash": func(a []arg) [][]byte {
		return [][]byte{whole(tagged.FileRenewal(hash(a[0].bytes), index(a[1].bytes)))}
	},
	"file_cancel_secret_hash": func(a []arg) [][]byte {
		return [][]byte{whole(tagged.FileCancel(hash(a[0].bytes), index(a[1].bytes)))}
	},
	"bucket_renewal_secret_hash": func(a []arg) [][]byte {
		return [][]byte{whole(tagged.BucketRenewal(hash(a[0].bytes), peer(a[1].bytes)))}
	},
	"bucket_cancel_secret_hash": func(a []arg) [][]byte {
		return [][]byte{whole(tagged.BucketCancel(hash(a[0].bytes), peer(a[1].bytes)))}
	},
	"hmac": func(a []arg) [][]byte { return [][]byte{whole(tagged.ChildMAC(a[0].bytes, a[1].bytes))} },
	"mutable_rwcap_key_hash": func(a []arg) [][]byte {
		return [][]byte{short(tagged.ChildKey(key(a[0].bytes), key(a[1].bytes)))}
	},
	"mutable_rwcap_salt_hash": func(a []arg) [][]byte {
		return [][]byte{short(tagged.ChildSalt(a[0].bytes))}
	},
	"ssk_writekey_hash": func(a []arg) [][]byte { return [][]byte{short(tagged.WriteKey(a[0].bytes))} },
	"ssk_write_enabler_master_hash": func(a []arg) [][]byte {
		return [][]byte{whole(tagged.WriteEnablerMaster(key(a[0].bytes)))}
	},
	"ssk_write_enabler_hash": func(a []arg) [][]byte {
		return [][]byte{whole(tagged.WriteEnabler(key(a[0].bytes), peer(a[1].bytes)))}
	},
	"ssk_readkey_hash": func(a []arg) [][]byte {
		return [][]byte{short(tagged.ReadKey(key(a[0].bytes)))}
	},
	"ssk_readkey_data_hash": func(a []arg) [][]byte {
		return [][]byte{short(tagged.DataKey(key(a[0].bytes), key(a[1].bytes)))}
	},
	"ssk_storage_index_hash": func(a []arg) [][]byte {
		return [][]byte{short(tagged.MutableIndex(key(a[0].bytes)))}
	},
	"permute_server_hash": func(a []arg) [][]byte {
		h := tagged.Permutation(index(a[0].bytes), a[1].bytes)
		return [][]byte{h[:]}
	},
}

func TestHashVectors(t *testing.T) {
	var file struct {
		Rows []struct {
			Fn   string
			Args []arg
			Out  hexBytes
		}
	}
	load(t, "hash_vectors.json", &file)
	if len(file.Rows) != 46 {
		t.Fatalf("%d rows, want 46", len(file.Rows))
	}
	seen := make(map[string]bool)
	for _, row := range file.Rows {
		f, ok := functions[row.Fn]
		if !ok {
			t.Errorf("%s: no function of ours", row.Fn)
			continue
		}
		seen[row.Fn] = true
		for i, got := range f(row.Args) {
			if !bytes.Equal(got, row.Out) {
				t.Errorf("%s (%d): %x, want %x", row.Fn, i, got, row.Out)
			}
		}
	}
	if len(seen) != len(functions) {
		t.Errorf("rows for %d functions of %d", len(seen), len(functions))
	}
}

func TestLeaseVectors(t *testing.T) {
	var file struct {
		PrivateSecret       string `json:"private/secret"`
		Secret              hexBytes
		ClientRenewalSecret hexBytes `json:"client_renewal_secret"`
		ClientCancelSecret  hexBytes `json:"client_cancel_secret"`
		Rows                []struct {
			SI            hexBytes
			SIb32         string `json:"si_b32"`
			PeerID        hexBytes
			PeerIDb32     string   `json:"peerid_b32"`
			FileRenewal   hexBytes `json:"file_renewal"`
			FileCancel    hexBytes `json:"file_cancel"`
			BucketRenewal hexBytes `json:"bucket_renewal"`
			BucketCancel  hexBytes `json:"bucket_cancel"`
			WriteKey      hexBytes
			ReadKey       hexBytes
			MutableSI     hexBytes `json:"mutable_si"`
			Master        hexBytes `json:"write_enabler_master"`
			WriteEnabler  hexBytes `json:"write_enabler"`
		}
	}
	load(t, "lease_vectors.json", &file)
	if len(file.Rows) != 6 {
		t.Fatalf("%d rows, want 6", len(file.Rows))
	}
	check := func(name string, got, want []byte) {
		t.Helper()
		if !bytes.Equal(got, want) {
			t.Errorf("%s = %x, want %x", name, got, want)
		}
	}
	secret, err := base32.Decode(file.PrivateSecret)
	if err != nil {
		t.Fatal(err)
	}
	check("private/secret", secret, file.Secret)
	renewal, cancel := tagged.ClientRenewal(secret), tagged.ClientCancel(secret)
	check("ClientRenewal", renewal[:], file.ClientRenewalSecret)
	check("ClientCancel", cancel[:], file.ClientCancelSecret)
	for _, row := range file.Rows {
		si, id, wk := index(row.SI), peer(row.PeerID), key(row.WriteKey)
		if si.String() != row.SIb32 || base32.Encode(id[:]) != row.PeerIDb32 {
			t.Errorf("base32 of %x, %x: %s, %s", si, id, si, base32.Encode(id[:]))
		}
		check("FileRenewal", whole(tagged.FileRenewal(renewal, si)), row.FileRenewal)
		check("FileCancel", whole(tagged.FileCancel(cancel, si)), row.FileCancel)
		check("LeaseRenew", whole(tagged.LeaseRenew(secret, si, id)), row.BucketRenewal)
		check("LeaseCancel", whole(tagged.LeaseCancel(secret, si, id)), row.BucketCancel)
		rk := tagged.ReadKey(wk)
		check("ReadKey", rk[:], row.ReadKey)
		check("MutableIndex", short(tagged.MutableIndex(rk)), row.MutableSI)
		check("WriteEnablerMaster", whole(tagged.WriteEnablerMaster(wk)), row.Master)
		check("WriteEnabler", whole(tagged.WriteEnabler(wk, id)), row.WriteEnabler)
	}
}

func TestPermutationVectors(t *testing.T) {
	var rows []struct {
		Kind  string
		SI    hexBytes
		Seeds []hexBytes
		SHA1  []hexBytes
		Order []int
	}
	load(t, "permutation.json", &rows)
	if len(rows) != 4 {
		t.Fatalf("%d rows, want 4", len(rows))
	}
	for _, row := range rows {
		place := make([][20]byte, len(row.Seeds))
		order := make([]int, len(row.Seeds))
		for i, seed := range row.Seeds {
			place[i], order[i] = tagged.Permutation(index(row.SI), seed), i
			if !bytes.Equal(place[i][:], row.SHA1[i]) {
				t.Errorf("%s seed %d: %x, want %x", row.Kind, i, place[i], row.SHA1[i])
			}
		}
		slices.SortFunc(order, func(a, b int) int { return bytes.Compare(place[a][:], place[b][:]) })
		if !slices.Equal(order, row.Order) {
			t.Errorf("%s: order %v, want %v", row.Kind, order, row.Order)
		}
	}
}

func TestUEBVectors(t *testing.T) {
	var rows []struct{ Packed, Hash hexBytes }
	load(t, "ueb.json", &rows)
	if len(rows) != 2 {
		t.Fatalf("%d rows, want 2", len(rows))
	}
	for _, row := range rows {
		if got := tagged.UEB(row.Packed); !bytes.Equal(got[:], row.Hash) {
			t.Errorf("UEB(%q) = %x, want %x", row.Packed, got, row.Hash)
		}
	}
}
