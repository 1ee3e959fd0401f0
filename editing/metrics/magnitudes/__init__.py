"""How far one target's probability is from the other's, beside the scores that ask only which is larger."""
