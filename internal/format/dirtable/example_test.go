package dirtable_test

import (
	"fmt"
	"time"

	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/format/dirtable"
)

// A child is added to the contents of a directory, as a mutable file's
// modifier does it.
func Example() {
	dir, err := caps.Parse("URI:DIR2:khw37xyluthirivmkm2p6sktjy:xlydi5s3w7d4ktn6524k3zswyibvtul3rm3me23eonddy7loc3za")
	if err != nil {
		fmt.Println(err)
		return
	}
	add := func(old []byte) ([]byte, error) {
		table, err := dirtable.Parse(dir.(caps.Dir), old)
		if err != nil {
			return nil, err
		}
		child, err := dirtable.NewChild("URI:LIT:nbswy3dpebwgs5dfojqwy", "", table.Immutable())
		if err != nil {
			return nil, err
		}
		if err := table.Set("a name", child, nil, dirtable.Never, time.Unix(1700000000, 0)); err != nil {
			return nil, err
		}
		return table.Bytes(), nil
	}
	contents, err := add(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	table, err := dirtable.Parse(dir.(caps.Dir), contents)
	if err != nil {
		fmt.Println(err)
		return
	}
	for name, entry := range table.All() {
		child, err := entry.Child()
		fmt.Println(name, child.Cap().Kind(), err)
	}
	_, err = add(contents)
	fmt.Println(err)
	// Output:
	// a name lit <nil>
	// there is a child of that name
}
