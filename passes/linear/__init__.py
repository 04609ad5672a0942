"""Exact passes over linear operators: what is multiplied and added goes into their weights."""
