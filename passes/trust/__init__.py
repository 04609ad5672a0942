"""Proof that a graph still computes what it did, and the search for what broke it."""
