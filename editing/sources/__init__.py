"""Where models come from: the hub, a package with the default model, a GGUF file."""
