"""What leaves: stored files as they are or anonymised, where from, and under which names."""
