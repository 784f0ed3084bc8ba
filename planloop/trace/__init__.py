"""The run's events: on disk or in memory, append-only, and their fold."""
