"""Edit batches: accepting, watching and cancelling them."""
