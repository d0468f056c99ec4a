"""A sweep: Ray Tune over a pool of Ray Train groups, its screen, and what watches it."""
