"""Mixed precision: which layers stay float so that a bound on the error holds."""
