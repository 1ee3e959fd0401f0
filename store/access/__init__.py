"""API keys, the audit log and what each caller has used."""
