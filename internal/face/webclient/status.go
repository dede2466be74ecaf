package webclient

import "context"

// Status is what is going on in the node and what went on.
type Status struct {
	Active []Operation `json:"active"`
	Recent []Operation `json:"recent"`
}

// Operation is one upload or download. Times are seconds since 1970.
type Operation struct {
	Type      string   `json:"type"` // "upload", "download"
	SI        string   `json:"storage-index-string"`
	TotalSize *int64   `json:"total-size"` // bytes; nil: not known yet
	Status    string   `json:"status"`     // for people
	Operation string   `json:"operation"`
	Stage     string   `json:"stage"` // as in Progress, then "done" or "failed"
	Done      int64    `json:"done"`  // bytes of this stage
	Started   float64  `json:"started"`
	Finished  *float64 `json:"finished"`
	Error     string   `json:"error"`
	Servers   []struct {
		ID     string `json:"id"`
		Name   string `json:"name"`
		Shares []int  `json:"shares"`
		Bytes  int64  `json:"bytes"`
		Error  string `json:"error"`
	} `json:"servers"`
}

func (o Operation) total() int64 {
	if o.TotalSize == nil {
		return -1
	}
	return *o.TotalSize
}

// Status asks the gateway what is going on.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	err := c.getJSON(ctx, "/status?t=json", &s)
	return s, err
}

// Welcome is the node's state, as its start page has it.
type Welcome struct {
	Nickname string `json:"nickname"`
	NodeID   string `json:"node_id"`
	Version  string `json:"version"`
	Ready    bool   `json:"ready"`   // enough servers are connected to store files
	Summary  string `json:"summary"` // a sentence
	Ladder   []struct {
		Name  string `json:"name"`
		State string `json:"state"` // "ok", "waiting", "failed", "unknown"
		Text  string `json:"text"`
		// Details are further sentences.
		Details []string `json:"details"`
	} `json:"ladder"`
	Introducers struct {
		Statuses []string     `json:"statuses"`          // for people, one for each
		Details  []Introducer `json:"details,omitempty"` // not of a Python gateway
	} `json:"introducers"`
	Servers  []Server `json:"servers"`
	Encoding struct {
		Needed int `json:"needed"`
		Happy  int `json:"happy"`
		Total  int `json:"total"`
	} `json:"encoding"`

	// Of an introducer node, which has nothing of the above but its own name,
	// and the ladder.
	Announced  map[string]int `json:"announcement_summary,omitempty"` // by service
	Subscribed map[string]int `json:"subscription_summary,omitempty"`
	Services   []Service      `json:"services,omitempty"`
}

// IsIntroducer reports whether the page is that of an introducer node.
func (w Welcome) IsIntroducer() bool { return w.Announced != nil }

// Introducer is one that the node asks for servers. Times are seconds since
// 1970, nil: never.
type Introducer struct {
	Petname      string   `json:"petname"`
	TubID        string   `json:"tub_id"`
	State        string   `json:"state"`             // "connected", "connecting", "waiting", "stopped"
	Words        string   `json:"connection_status"` // for people
	Address      string   `json:"address"`           // "onion", "tor", "tcp"
	Version      *string  `json:"version"`
	Reason       string   `json:"reason"`
	Servers      int      `json:"servers"` // that it has announced
	Cached       int      `json:"cached"`  // of them only in the cache
	DroppedTotal int64    `json:"dropped_total"`
	LastContact  *float64 `json:"last_received_data"`
	RetryAt      *float64 `json:"retry_at"`
	Published    *struct {
		Seqnum int64    `json:"seqnum"`
		Sent   *float64 `json:"sent"`
		Error  string   `json:"error"`
	} `json:"published"`
}

// Service is what an introducer node was told of.
type Service struct {
	Service   string   `json:"service"`
	Key       string   `json:"key"`
	Nickname  string   `json:"nickname"`
	Version   string   `json:"version"`
	Hints     []string `json:"hints"`
	Connected bool     `json:"connected"` // its publisher is
	LastSeen  *float64 `json:"last_seen"`
}

// Server is a storage server as the node knows it. Times are seconds since
// 1970, nil: never.
type Server struct {
	ID             string   `json:"nodeid"`
	Name           string   `json:"nickname"`
	Words          string   `json:"connection_status"` // for people
	State          string   `json:"state"`             // "connected", "connecting", "disconnected"
	Address        string   `json:"address"`           // "onion", "tor", "tcp"
	Protocol       string   `json:"protocol"`
	Source         string   `json:"source"`
	Reason         string   `json:"reason"`
	Version        *string  `json:"version"`
	AvailableSpace *int64   `json:"available_space"` // bytes
	LastContact    *float64 `json:"last_received_data"`
	Since          *float64 `json:"since"`
	RetryAt        *float64 `json:"retry_at"`
	WhyFoolscap    string   `json:"why_foolscap"`      // and not the HTTP protocol
	WhyNoNewShares string   `json:"why_no_new_shares"` // "": it is given some
	TubID          string   `json:"tub_id"`
	Sources        []struct {
		Name   string   `json:"name"`
		Seqnum *int64   `json:"seqnum"`
		Heard  *float64 `json:"heard"`
		Used   bool     `json:"used"`
		Why    string   `json:"why"`
	} `json:"sources"`
}

// Welcome asks the gateway for the node's state. An answer from a Python
// gateway has no Ladder and no Summary.
func (c *Client) Welcome(ctx context.Context) (Welcome, error) {
	var w Welcome
	err := c.getJSON(ctx, "/?t=json", &w)
	return w, err
}
