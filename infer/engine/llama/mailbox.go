package llama

import "sync"

// mailbox is a queue without an end. Who puts something in never waits; one
// goroutine takes things out.
type mailbox[T any] struct {
	mu    sync.Mutex
	items []T
	wake  chan struct{} // ready while there is something, or was
}

func newMailbox[T any]() *mailbox[T] { return &mailbox[T]{wake: make(chan struct{}, 1)} }

func (m *mailbox[T]) put(v T) {
	m.mu.Lock()
	m.items = append(m.items, v)
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// take returns all there is.
func (m *mailbox[T]) take() []T {
	m.mu.Lock()
	defer m.mu.Unlock()
	items := m.items
	m.items = nil
	return items
}
