package banana

// sequence reads what follows an opentype, to the end of the sequence. Its
// number is start.
func (d *Decoder) sequence(opentype string, s *Schema, start int64) (any, error) {
	before := d.budget
	v, err := d.contents(opentype, s)
	if err != nil {
		return nil, err
	}
	if err := d.Close(); err != nil {
		return nil, err
	}
	switch v.(type) {
	case List, Set, FrozenSet, Tuple, Dict, Copyable:
		d.share(start, shared{value: v, cost: before - d.budget + nodeCost, done: true})
	}
	return v, nil
}

func (d *Decoder) contents(opentype string, s *Schema) (any, error) {
	k, ok := opentypes[opentype]
	if !ok {
		return nil, violation("a sequence of a type that is not allowed here")
	}
	if opentype == "reference" {
		return d.reference(s)
	}
	s, err := s.pick(k)
	if err != nil {
		return nil, err
	}
	switch opentype {
	case "none":
		return nil, nil
	case "boolean":
		v, err := d.Value(Int(0, 1))
		return v == int64(1), err
	case "unicode":
		return d.text(s)
	case "list":
		vs, err := d.members(s)
		return List(vs), err
	case "set", "immutable-set":
		vs, err := d.set(s)
		if opentype == "immutable-set" && s.kind == anyKind {
			return FrozenSet(vs), err
		}
		return Set(vs), err
	case "tuple":
		return d.tuple(s)
	case "dict":
		return d.dict(s)
	case "copyable":
		return d.copyable(s)
	case "my-reference":
		return d.mine()
	default:
		return d.yours()
	}
}

var opentypes = map[string]kind{
	"none": noneKind, "boolean": boolKind, "unicode": textKind, "list": listKind, "set": setKind, "immutable-set": setKind, "tuple": tupleKind,
	"dict": dictKind, "copyable": copyableKind, "my-reference": referenceKind, "your-reference": referenceKind, "reference": anyKind,
}

// share remembers a value in case the message names it again.
func (d *Decoder) share(number int64, sh shared) {
	i := number - d.base
	for int64(len(d.shared)) <= i {
		d.shared = append(d.shared, shared{})
	}
	d.shared[i] = sh
}

// reference is a value that this message already holds, in full. It costs as
// much again, so that few bytes cannot stand for many.
func (d *Decoder) reference(s *Schema) (any, error) {
	n, err := d.Uint()
	if err != nil {
		return nil, err
	}
	i := n - d.base
	if i < 0 || i >= int64(len(d.shared)) || !d.shared[i].done {
		return nil, violation("a reference to a value that is not in this message, or not complete")
	}
	sh := d.shared[i]
	if err := d.spend(sh.cost); err != nil {
		return nil, err
	}
	return sh.value, s.check(sh.value)
}

func (d *Decoder) text(s *Schema) (any, error) {
	b := Bytes(s.max)
	if s.kind == anyKind {
		b = Bytes(d.budget)
	}
	v, err := d.Value(b)
	if err != nil {
		return nil, err
	}
	return string(v.([]byte)), validText(v.([]byte))
}

// members reads values up to the end of a list or set.
func (d *Decoder) members(s *Schema) ([]any, error) {
	var vs []any
	for {
		more, err := d.More()
		if err != nil {
			return nil, unexpected(err)
		}
		if !more {
			return vs, s.checkLen("values", int64(len(vs)))
		}
		if s.kind != anyKind && int64(len(vs)) >= s.max {
			return nil, violation("more than %d values", s.max)
		}
		v, err := d.Value(s.elemSchema())
		if err != nil {
			return nil, err
		}
		vs = append(vs, v)
	}
}

// set drops members that are there already.
func (d *Decoder) set(s *Schema) ([]any, error) {
	vs, err := d.members(s)
	if err != nil {
		return nil, err
	}
	seen := make(map[any]bool, len(vs))
	kept := vs[:0]
	for _, v := range vs {
		k, ok := key(v)
		if _, tuple := v.(Tuple); !ok && !tuple {
			return nil, violation("a member that no set can hold")
		}
		if ok && seen[k] {
			continue
		}
		seen[k] = ok
		kept = append(kept, v)
	}
	return kept, nil
}

func (d *Decoder) tuple(s *Schema) (any, error) {
	var vs Tuple
	for {
		more, err := d.More()
		if err != nil {
			return nil, unexpected(err)
		}
		if !more {
			return vs, s.checkFields(len(vs))
		}
		f, err := s.fieldSchema(len(vs))
		if err != nil {
			return nil, err
		}
		v, err := d.Value(f)
		if err != nil {
			return nil, err
		}
		vs = append(vs, v)
	}
}

// dict reads keys and values up to the end.
func (d *Decoder) dict(s *Schema) (Dict, error) {
	var dict Dict
	seen := map[any]bool{}
	for {
		more, err := d.More()
		if err != nil {
			return nil, unexpected(err)
		}
		if !more {
			return dict, s.checkLen("entries", int64(len(dict)))
		}
		if s.kind != anyKind && int64(len(dict)) >= s.max {
			return nil, violation("more than %d entries", s.max)
		}
		k, err := d.Value(s.keySchema())
		if err != nil {
			return nil, err
		}
		ck, ok := key(k)
		if !ok {
			return nil, violation("a key that is neither bytes, text, a number, a boolean nor none")
		}
		if seen[ck] {
			return nil, violation("a key that is there twice")
		}
		seen[ck] = true
		v, err := d.Value(s.elemSchema())
		if err != nil {
			return nil, err
		}
		dict = append(dict, Pair{k, v})
	}
}

func (d *Decoder) copyable(s *Schema) (any, error) {
	class, err := d.Word(200)
	if err != nil {
		return nil, err
	}
	if s.kind == copyableKind && class != s.class {
		return nil, violation("an object of another class")
	}
	attrs := &Schema{kind: dictKind, key: Bytes(200), elem: s.elemSchema(), max: s.max}
	if s.kind == anyKind {
		attrs.max = d.budget
	}
	dict, err := d.dict(attrs)
	return Copyable{Class: class, Attrs: dict}, err
}

const maxRefWord = 1000 // bytes of an interface's name, and of a fURL

// mine reads my-reference: a number and, the first time, an interface and
// perhaps a fURL.
func (d *Decoder) mine() (any, error) {
	clid, err := d.Uint()
	if err != nil {
		return nil, err
	}
	var words [2][]byte
	for i := range words {
		if more, err := d.More(); err != nil || !more {
			if err != nil {
				return nil, unexpected(err)
			}
			break
		}
		v, err := d.Value(Bytes(maxRefWord))
		if err != nil {
			return nil, err
		}
		words[i] = v.([]byte)
	}
	if d.Refs.Mine == nil {
		return nil, violation("a reference where none is allowed")
	}
	return d.Refs.Mine(clid, words[0], words[1])
}

func (d *Decoder) yours() (any, error) {
	clid, err := d.Uint()
	if err != nil {
		return nil, err
	}
	if d.Refs.Yours == nil {
		return nil, violation("a reference where none is allowed")
	}
	return d.Refs.Yours(clid)
}
