"""Exact rewrites into what runtimes compute fast on 8-bit integers, though not in float."""
