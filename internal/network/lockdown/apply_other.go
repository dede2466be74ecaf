//go:build !linux || !(amd64 || arm64)

package lockdown

func apply(Level) (Report, error) { return Report{}, ErrUnsupported }
