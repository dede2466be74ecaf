package endpoint

// Auto stands for the addresses that the machine finds on itself.
type Auto struct{}

// Unreachable says that nobody is to connect to this node.
type Unreachable struct{}

// Disabled says the same in tub.port and tub.location together.
type Disabled struct{}

// FakeLocation is "client.fakelocation:0", which says the same in the
// spelling of nodes that ran under torsocks.
type FakeLocation struct{}

func (Auto) String() string         { return "AUTO" }
func (Unreachable) String() string  { return "UNREACHABLE" }
func (Disabled) String() string     { return "disabled" }
func (FakeLocation) String() string { return "client.fakelocation:0" }

var (
	auto        = word("AUTO", Auto{})
	autodetect  = word("AUTODETECT", Auto{})
	unreachable = word("UNREACHABLE", Unreachable{})
	disabled    = word("disabled", Disabled{})
)

func word(name string, v Value) kind {
	return kind{name, name, nil, func(*fields) Value { return v }}
}
