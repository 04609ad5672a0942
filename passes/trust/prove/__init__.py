"""Certificates of runs: what of a result is proved, edit by edit."""
