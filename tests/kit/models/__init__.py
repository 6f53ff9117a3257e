"""Real models for tests, small enough to run on two cores, and what asks them."""
