package webapi

import "testing"

func makePipe(*testing.T, string) {}
