package cbrgateway

import "iter"

// inOrder is a map that keeps the order in which its keys came.
type inOrder[V any] struct {
	order []string
	of    map[string]V
}

func (m *inOrder[V]) put(id string, value V) {
	if m.of == nil {
		m.of = map[string]V{}
	}
	if !m.has(id) {
		m.order = append(m.order, id)
	}
	m.of[id] = value
}

func (m *inOrder[V]) has(id string) bool {
	_, found := m.of[id]
	return found
}

func (m *inOrder[V]) all() iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, id := range m.order {
			if !yield(id, m.of[id]) {
				return
			}
		}
	}
}
