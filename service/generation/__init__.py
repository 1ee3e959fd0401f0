"""What completions and chat share: pinning a version, submitting to the workers, relaying their replies."""
