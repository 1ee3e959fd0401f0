"""OpenAI's completions, answered by the model's workers."""
