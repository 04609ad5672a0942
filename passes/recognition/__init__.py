"""Exact passes that find the operator which exporters spelled out in smaller ones."""
