"""Carries out plans: flows as a graph, calls by the ledger."""
