"""Ways to carry out a plan."""
