package fs

import (
	"os"
	"reflect"
	"testing"
	"time"
	"unsafe"

	"github.com/sheaf-fs/sheaf/crdt"
)

// A view that says anything stays: each of its fields counts.
func TestBlankView(t *testing.T) {
	fresh := func() *view { return views.New().(*view) }
	if !fresh().blank() {
		t.Fatal("a new view says something")
	}
	var fields func(path string, of reflect.Type, in func(*view) reflect.Value)
	fields = func(path string, of reflect.Type, in func(*view) reflect.Value) {
		for i := range of.NumField() {
			name, ty := path+of.Field(i).Name, of.Field(i).Type
			field := func(v *view) reflect.Value {
				f := in(v).Field(i)
				return reflect.NewAt(f.Type(), unsafe.Pointer(f.UnsafeAddr())).Elem() // it is not exported
			}
			if ty.Kind() == reflect.Struct && ty != reflect.TypeFor[time.Time]() {
				fields(name+".", ty, field)
				continue
			}
			v := fresh()
			switch f := field(v); {
			case ty == reflect.TypeFor[time.Time]():
				f.Set(reflect.ValueOf(time.Unix(0, 0)))
			case ty.Kind() == reflect.Bool:
				f.SetBool(true)
			case f.CanInt():
				f.SetInt(1)
			case f.CanUint():
				f.SetUint(1)
			case ty.Kind() == reflect.String:
				f.SetString("x")
			case ty.Kind() == reflect.Slice:
				f.Set(reflect.MakeSlice(ty, 0, 0))
			case ty.Kind() == reflect.Map:
				f.Set(reflect.MakeMap(ty))
			case ty.Kind() == reflect.Pointer:
				f.Set(reflect.New(ty.Elem()))
			default:
				t.Fatalf("%s is a %v", name, ty)
			}
			if v.blank() {
				t.Errorf("with %s set it is dropped", name)
			}
		}
	}
	fields("", reflect.TypeFor[view](), func(v *view) reflect.Value { return reflect.ValueOf(v).Elem() })
}

// What was only looked at, or read and closed, has no view, and an inode is small.
func TestViewsAreLetGo(t *testing.T) {
	if size := unsafe.Sizeof(inode{}); size > 160 {
		t.Errorf("an inode takes %d bytes", size)
	}
	d := newDevice(t, "here")
	var node crdt.NodeID
	f, err := d.home.CreateFolder("notes")
	if err != nil {
		t.Fatal(err)
	}
	err = f.Update(func(tx *crdt.Tx) (err error) {
		node, _, err = tx.Create(crdt.Root, "f.txt", 0o644, crdt.NewContent{Text: "one\n"})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	d.f = f
	d.mount() // which hears of no change
	letGo := func(what string) {
		t.Helper()
		eventually(t, what, func() bool {
			in := d.s.fs.node(node)
			if in == nil {
				return false
			}
			in.lock.Lock()
			defer in.lock.Unlock()
			return in.view == nil
		})
	}
	if _, err := os.Stat(d.path("f.txt")); err != nil {
		t.Fatal(err)
	}
	letGo("the view of what was looked at is let go")
	equal(t, "f.txt", d.read("f.txt"), "one\n")
	letGo("the view of what was read is let go")
	d.edit("f.txt", func(s string) string { return s + "two\n" })
	eventually(t, "what came is read", func() bool { return d.read("f.txt") == "one\ntwo\n" })
}
