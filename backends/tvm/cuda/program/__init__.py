"""A Relax program in channels-last layout."""
