package expr

import "sync"

// cache keeps compiled expressions in two generations: what is found in the old one moves to the young one, and when that is
// full it becomes the old one. What was not used for long is dropped without any bookkeeping on the way.
type cache struct {
	most int

	mu         sync.Mutex
	young, old map[key]*Program
}

// key tells the two ways apart in which a source can be compiled.
type key struct {
	source string
	engine bool // for the engine, although it is plain
}

func (c *cache) get(source string) (*Program, error) { return c.lookup(key{source: source}) }
func (c *cache) engine(source string) (*Program, error) {
	return c.lookup(key{source: source, engine: true})
}

func (c *cache) lookup(k key) (*Program, error) {
	c.mu.Lock()
	p := c.young[k]
	if p == nil {
		if p = c.old[k]; p != nil {
			c.put(k, p)
		}
	}
	c.mu.Unlock()
	if p != nil {
		return p, nil
	}
	compile := Compile
	if k.engine {
		compile = compileForEngine
	}
	p, err := compile(k.source) // without the lock: two may compile the same, which is harmless
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.put(k, p)
	c.mu.Unlock()
	return p, nil
}

func (c *cache) put(k key, p *Program) {
	if c.young == nil || len(c.young) >= max(c.most/2, 1) {
		c.old, c.young = c.young, map[key]*Program{}
	}
	c.young[k] = p
}
