package ssk_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"

	"tahoe-go/internal/codec/ids"
	"tahoe-go/internal/format/ssk"
)

// slot is a share on some server.
type slot []byte

func (s slot) ReadSpans(_ context.Context, spans []ids.Span) ([][]byte, error) {
	var pieces [][]byte
	for _, span := range spans {
		from := min(span.Off, int64(len(s)))
		pieces = append(pieces, s[from:min(span.End(), int64(len(s)))])
	}
	return pieces, nil
}

// A file is written as ten shares and read from the last three.
func Example() {
	ctx := context.Background()
	key, err := ssk.GenerateKey(rand.Reader)
	if err != nil {
		fmt.Println(err)
		return
	}
	text := []byte("contents that will change")
	written, err := ssk.Encode(ctx, ssk.Config{Key: key, K: 3, N: 10, Seqnum: 1, Random: rand.Reader}, bytes.NewReader(text), int64(len(text)))
	if err != nil {
		fmt.Println(err)
		return
	}

	cap := key.Cap(false).Read()
	file := ssk.NewFile(cap.Verifier())
	decoder, err := ssk.NewDecoder(written.Version, cap)
	if err != nil {
		fmt.Println(err)
		return
	}
	blocks := make(map[ids.ShareNum]ssk.Block)
	for num := ids.ShareNum(7); num < 10; num++ {
		share, err := file.Open(ctx, slot(written.Share(num)), num, nil)
		if err != nil {
			fmt.Println(err)
			return
		}
		block, err := share.Blocks(ctx, 0, 1)
		if err != nil {
			fmt.Println(err)
			return
		}
		blocks[num] = block[0]
	}
	read, err := decoder.Segment(0, blocks, nil)
	fmt.Println(string(read), err)
	// Output: contents that will change <nil>
}
