"""One trial: the bench it gets, what it measures, what it leaves."""
