package tagged_test

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"
	"testing"

	"tahoe-go/internal/codec/tagged"
)

// The short ways (stack, pool) agree with the definition around every size
// where they switch, and with a tag longer than one hash block.
func TestSumAndPair(t *testing.T) {
	for _, tag := range []string{"", "t", strings.Repeat("T", 63), strings.Repeat("long", 100)} {
		for size := range 300 {
			data := []byte(strings.Repeat("x", size))
			want := double(fmt.Sprintf("%d:%s,%s", len(tag), tag, data))
			if got := tagged.Sum(tag, data); got != want {
				t.Fatalf("Sum(%d-byte tag, %d bytes) = %x, want %x", len(tag), size, got, want)
			}
			want = double(fmt.Sprintf("%d:%s,%d:%s,%d:%s,", len(tag), tag, size, data, 1, "b"))
			if got := tagged.Pair(tag, data, []byte("b")); got != want {
				t.Fatalf("Pair(%d-byte tag, %d bytes) = %x, want %x", len(tag), size, got, want)
			}
		}
	}
}

func double(s string) tagged.Hash {
	inner := sha256.Sum256([]byte(s))
	return sha256.Sum256(inner[:])
}

func TestSumLeavesTheStream(t *testing.T) {
	h := tagged.NewBlock()
	h.Write([]byte("one"))
	if got, want := h.Sum(), tagged.Block([]byte("one")); got != want {
		t.Errorf("first Sum = %x, want %x", got, want)
	}
	h.Write([]byte("two"))
	if got, want := h.Sum(), tagged.Block([]byte("onetwo")); got != want {
		t.Errorf("second Sum = %x, want %x", got, want)
	}
}

func TestOneShotsConcurrently(t *testing.T) {
	var wg sync.WaitGroup
	for g := range 4 {
		data := []byte(strings.Repeat("d", 100*g))
		h := tagged.NewBlock()
		h.Write(data)
		want := h.Sum()
		wg.Go(func() {
			for range 200 {
				if got := tagged.Block(data); got != want {
					t.Errorf("Block(%d bytes) = %x, want %x", len(data), got, want)
					return
				}
			}
		})
	}
	wg.Wait()
}

// The tag of a convergence hash holds the convergence secret.
func TestHasherPrintsNoSecret(t *testing.T) {
	secret := "canary-canary-canary"
	h := tagged.NewConvergence(3, 10, 1<<20, []byte(secret))
	h.Write([]byte("plaintext"))
	key := h.Sum16()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, value := range []any{h, *h, struct{ h *tagged.Hasher }{h}, struct{ h tagged.Hasher }{*h}} {
			got := fmt.Sprintf(verb, value)
			for _, bad := range []string{secret, fmt.Sprintf("%x", secret), fmt.Sprint([]byte(secret)),
				fmt.Sprintf("%x", key), strings.Trim(fmt.Sprint(key), "[]")} {
				if strings.Contains(got, strings.Trim(bad, "[]")) {
					t.Errorf("%s of %T prints %q: %s", verb, value, bad, got)
				}
			}
		}
	}
}

func TestHotPathsDoNotAllocate(t *testing.T) {
	data := make([]byte, 4096)
	h := tagged.NewBlock()
	var a, b tagged.Hash
	var sink tagged.Hash
	for name, f := range map[string]func(){
		"streamed": func() { h.Reset(); h.Write(data); sink = h.Sum() },
		"TreeNode": func() { sink = tagged.TreeNode(&a, &b) },
	} {
		if got := testing.AllocsPerRun(100, f); got != 0 {
			t.Errorf("%s allocates %v times", name, got)
		}
	}
	_ = sink
}

func BenchmarkBlock(b *testing.B) {
	for _, size := range []int{1 << 10, 16 << 10, 43691, 349526} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			data := make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				tagged.Block(data)
			}
		})
	}
}

// Ten hashers fed 16 KiB at a time, as an upload does.
func BenchmarkStripes(b *testing.B) {
	hashers := make([]*tagged.Hasher, 10)
	for i := range hashers {
		hashers[i] = tagged.NewBlock()
	}
	stripe := make([]byte, 16<<10)
	b.SetBytes(10 * 16 * int64(len(stripe)))
	b.ReportAllocs()
	for b.Loop() {
		for range 16 {
			for _, h := range hashers {
				h.Write(stripe)
			}
		}
		for _, h := range hashers {
			h.Sum()
			h.Reset()
		}
	}
}

func BenchmarkTreeNode(b *testing.B) {
	var l, r tagged.Hash
	b.SetBytes(64)
	b.ReportAllocs()
	for b.Loop() {
		tagged.TreeNode(&l, &r)
	}
}

// The machine's limit for the rows above.
func BenchmarkSHA256(b *testing.B) {
	data := make([]byte, 1<<20)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		sha256.Sum256(data)
	}
}
