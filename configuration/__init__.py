"""How a process of emmetd is set up: settings, logs, and the names and connections it uses in Redis. Knows no torch."""
