"""Commands of `python -m orchestrator`, beside those in `cli.py`. What they do is imported when they run."""
