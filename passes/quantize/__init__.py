"""Integer networks: numbers, calibration, placement and what keeps them accurate."""
