package proof

import (
	"testing"

	"tahoe-go/internal/check/tortest"
)

func TestMain(m *testing.M) { tortest.Main(m) }
