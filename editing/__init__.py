"""The science of model editing: tensors in, tensors out. Knows no HTTP, no queue and no database."""
