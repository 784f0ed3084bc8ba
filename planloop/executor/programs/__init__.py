"""Programs: Python that runs statement by statement in an interpreter inside the sandbox."""
