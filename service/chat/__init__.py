"""OpenAI's chat completions: a conversation, written by the model's own template, and its next message."""
