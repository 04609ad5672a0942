"""What people work on models with, over passes and backends: each tool is a room."""
