"""The FastAPI front end: checks requests, keeps them in SQL, lets Redis carry work. Knows no torch, no editing."""
