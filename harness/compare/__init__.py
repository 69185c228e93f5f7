"""Are two runs different? What can be said of their figures, and in which words."""
