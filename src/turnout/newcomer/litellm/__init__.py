"""LiteLLM's `config.yaml` as a config of ours: what has a counterpart, and the reason for what has none."""
