"""What a worker will take of its device's memory and its host's, said before anything is loaded."""
