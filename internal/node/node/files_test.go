package node

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"tahoe-go/internal/check/leakcheck"
	"tahoe-go/internal/face/webclient"
	"tahoe-go/internal/format/caps"
)

// A new directory has the format that tahoe.cfg says, unless the request says
// another. A node of the most shares there can be keeps mutable files, too.
func TestDirectoriesOfANode(t *testing.T) {
	leakcheck.Check(t)
	intro := create(t, introducerNode)
	start(t, intro, Options{})
	start(t, create(t, joining(t, intro, storageNode("ann"))), Options{})
	for _, tt := range []struct {
		format, asked string
		total         int
		mdmf          bool
	}{{"", "", 256, false}, {"mdmf", "", 1, true}, {"MDMF", "SDMF", 1, false}, {"SDMF", "MDMF", 1, true}} {
		t.Run(fmt.Sprintf("%s, asked for %s, of %d", tt.format, tt.asked, tt.total), func(t *testing.T) {
			dir := create(t, joining(t, intro, clientNode(1, 1, tt.total)))
			edit(t, dir, "[client]\n", "[client]\nmutable.format = "+tt.format+"\n")
			awaitServers(t, start(t, dir, Options{}), 1)
			gw, err := webclient.New(webclient.Config{URL: readFile(t, dir, "node.url")})
			if err != nil {
				t.Fatal(err)
			}
			defer gw.Close()
			root, err := gw.Mkdir(t.Context(), webclient.Place{}, webclient.MkdirOptions{Format: tt.asked})
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(root.Reveal(), "URI:DIR2-MDMF:") != tt.mdmf || !caps.IsDir(root) {
				t.Errorf("it is %.14s…", root.Reveal())
			}
			file := webclient.At(root, "letter.txt")
			if _, _, err := gw.PutAt(t.Context(), file, strings.NewReader("dear all"), 8, webclient.PutOptions{}); err != nil {
				t.Fatal(err)
			}
			node, err := gw.Look(t.Context(), file)
			if err != nil {
				t.Fatal(err)
			}
			var back bytes.Buffer
			if _, err := gw.Get(t.Context(), node.Cap(), &back, webclient.GetOptions{}); err != nil || back.String() != "dear all" {
				t.Errorf("%q came back: %v", back.String(), err)
			}
		})
	}
}
