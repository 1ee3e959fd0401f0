"""Taking facts out of edits that were published."""
