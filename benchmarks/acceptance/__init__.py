"""Long checks of what the service promises, on a real model; `make acceptance` runs them and keeps their results."""
