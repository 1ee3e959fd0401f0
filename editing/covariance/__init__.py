"""C0, the second moment of keys over ordinary text: its text, its sums, its factor, and the metric S made of it."""
