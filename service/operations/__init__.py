"""What whoever runs emmetd looks at: is it alive, is it ready, how does it do."""
