"""Asks a model for plans: the prompt, the conversation, and reading replies."""
