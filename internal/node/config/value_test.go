package config_test

import (
	"testing"
	"time"

	"tahoe-go/internal/node/config"
)

func TestParseSize(t *testing.T) {
	for in, want := range map[string]int64{
		"": 0, "0": 0, "123": 123, "5B": 5, "5iB": 5, "1k": 1000, "1KB": 1000, "1Ki": 1024, "1kib": 1024, "2M": 2e6, "2MiB": 2 << 20,
		"1G": 1e9, "1GiB": 1 << 30, "3T": 3e12, "1tib": 1 << 40, "1P": 1e15, "1PiB": 1 << 50, "7E": 7e18, "7EiB": 7 << 60, "9223372036854775807": 1<<63 - 1,
	} {
		if got, err := config.ParseSize(in); got != want || err != nil {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"10 GB", "1.5G", "-1", "G", "1X", "1GG", "8EiB", "10E", "9223372036854775808", "1G ", "١"} {
		if got, err := config.ParseSize(in); err == nil {
			t.Errorf("ParseSize(%q) = %d", in, got)
		}
	}
}

func TestParseAge(t *testing.T) {
	const day = 24 * time.Hour
	for in, want := range map[string]time.Duration{
		"7days": 7 * day, "31 day": 31 * day, " 60 s ": time.Minute, "2 seconds": 2 * time.Second, "1second": time.Second, "0s": 0,
		"2mo": 62 * day, "1 month": 31 * day, "2 Months": 62 * day, "1 YEAR": 365 * day, "2years": 730 * day,
	} {
		if got, err := config.ParseAge(in); got != want || err != nil {
			t.Errorf("ParseAge(%q) = %v, %v; want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "31", "d", "1 d", "1 week", "-1 day", "1.5 days", "300 years", "99999999999999999999 s"} {
		if got, err := config.ParseAge(in); err == nil {
			t.Errorf("ParseAge(%q) = %v", in, got)
		}
	}
}
