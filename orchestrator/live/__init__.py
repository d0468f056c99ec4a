"""The page while records change: made again by a process of its own, given out on 127.0.0.1."""
