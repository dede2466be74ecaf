//go:build !linux

package diskstore

func (osFile) flush(off, n int64) {}
