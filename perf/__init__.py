"""Scripts that measure speed and print ratios from one run; never part of the tests."""
