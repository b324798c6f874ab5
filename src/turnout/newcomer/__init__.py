"""The first ten minutes: a config made by questions or from LiteLLM's, what hinders it, and clients pointed here."""
