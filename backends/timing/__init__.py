"""How long models take: interleaved rounds, and MLPerf's load generator."""
