"""Exact passes that merge operators into one."""
