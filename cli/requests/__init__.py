"""Commands that ask a server over HTTP, a file each."""
