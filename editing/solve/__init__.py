"""The one solve, over one layer or several, with repair, rebasing and reverting."""
