"""Between text and token ids, as vLLM answers it."""
