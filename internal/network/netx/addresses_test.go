package netx

import "testing"

func TestLocalAddresses(t *testing.T) {
	found, err := LocalAddresses()
	if err != nil {
		t.Fatal(err)
	}
	for i, ip := range found {
		if !ip.Is4() || ip.IsLinkLocalUnicast() || ip.IsLoopback() && len(found) > 1 {
			t.Errorf("address %d of %v is not to be announced", i, found)
		}
	}
}
