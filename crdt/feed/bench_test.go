package feed

import (
	"fmt"
	"testing"

	"github.com/zeebo/blake3"
)

func BenchmarkEntry(b *testing.B) {
	priv, key := signer(1), Key{1}
	for _, n := range []int{200, 64 << 10} {
		plain := make([]byte, n)
		d := blake3.New()
		if _, err := d.Digest().Read(plain); err != nil {
			b.Fatal(err)
		}
		e, err := Seal(priv, key, testDraft(priv), plain)
		if err != nil {
			b.Fatal(err)
		}
		run := func(name string, fn func() error) {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				b.SetBytes(int64(n))
				b.ReportAllocs()
				for b.Loop() {
					if err := fn(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		run("Seal", func() error { _, err := Seal(priv, key, testDraft(priv), plain); return err })
		run("Decode", func() error { _, err := Decode(testFolder, e.Bytes()); return err })
		run("Verify", e.Verify)
		run("Open", func() error { _, err := e.Open(key); return err })
	}
}
