"""The command `emmetd`: one file for each command, and the supervisor that `emmetd serve` runs. Never imports torch."""
