package chk_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"strings"

	"tahoe-go/internal/codec/ids"
	"tahoe-go/internal/format/chk"
)

// memory is a server's share, being written and being read.
type memory struct{ bytes.Buffer }

func (m *memory) ReadAt(_ context.Context, p []byte, off int64) (int, error) {
	return bytes.NewReader(m.Bytes()).ReadAt(p, off)
}

// A file goes out to five shares and comes back from two of them.
func Example() {
	ctx := context.Background()
	text := strings.Repeat("any two of five. ", 10)
	params := chk.Params{K: 2, N: 5}
	size := int64(len(text))

	key, err := chk.ConvergentKey(ctx, strings.NewReader(text), size, params, []byte("convergence secret"))
	if err != nil {
		log.Fatal(err)
	}
	enc, err := chk.NewEncoder(chk.Config{Key: key, Size: size, Params: params})
	if err != nil {
		log.Fatal(err)
	}
	shares := make([]memory, params.N)
	for i := range shares {
		shares[i].Write(enc.Header())
	}
	for seg, err := range enc.Segments(ctx, strings.NewReader(text)) {
		if err != nil {
			log.Fatal(err)
		}
		for i, block := range seg.Blocks {
			shares[i].Write(block)
		}
		seg.Release()
	}
	trailer, err := enc.Trailer()
	if err != nil {
		log.Fatal(err)
	}
	for i := range shares {
		if _, err := io.Copy(&shares[i], trailer.Share(ids.ShareNum(i))); err != nil {
			log.Fatal(err)
		}
	}

	file, err := chk.NewFile(trailer.Cap.Verifier())
	if err != nil {
		log.Fatal(err)
	}
	blocks := make(map[ids.ShareNum][]byte)
	for _, num := range []ids.ShareNum{4, 1} {
		share, err := file.OpenShare(ctx, &shares[num], num, 0)
		if err != nil {
			log.Fatal(err)
		}
		if blocks[num], err = share.Block(ctx, 0, nil); err != nil {
			log.Fatal(err)
		}
	}
	segment, err := file.Decode(0, blocks, nil)
	if err != nil {
		log.Fatal(err)
	}
	cipher, err := chk.NewCipher(trailer.Cap.Key)
	if err != nil {
		log.Fatal(err)
	}
	cipher.XOR(segment, segment, 0)
	fmt.Println(string(segment[:17]), enc.ShareSize())
	// Output: any two of five.  666
}
