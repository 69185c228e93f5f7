"""Records into figures: pure functions without I/O."""
