"""What "A Unified Framework for Model Editing" (arXiv 2403.14236) shows, to be measured anew."""
