"""A version's deltas and the matrices that serve it."""
