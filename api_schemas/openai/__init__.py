"""Bodies of the endpoints that answer as the OpenAI API does."""
