"""The interpreter of programs, as it runs inside the sandbox."""
