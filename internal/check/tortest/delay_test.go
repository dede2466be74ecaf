package tortest

import (
	"net"
	"testing"
	"testing/synctest"
	"time"
)

func TestLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		c, d := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			late(c, b, 25*time.Millisecond)
		}()
		began := time.Now()
		go func() {
			a.Write([]byte("one"))
			time.Sleep(10 * time.Millisecond)
			a.Write([]byte("two"))
			a.Close()
		}()
		buf := make([]byte, 10)
		for _, want := range []struct {
			text string
			at   time.Duration
		}{{"one", 25 * time.Millisecond}, {"two", 35 * time.Millisecond}} {
			k, err := d.Read(buf)
			if err != nil || string(buf[:k]) != want.text || time.Since(began) != want.at {
				t.Errorf("read %q, %v after %v; want %q after %v", buf[:k], err, time.Since(began), want.text, want.at)
			}
		}
		if _, err := d.Read(buf); err == nil {
			t.Error("the end did not arrive")
		}
		<-done
		d.Close()
	})
}
