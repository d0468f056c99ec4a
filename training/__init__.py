"""The training loop and what it needs: torch and open_clip, never ray, methods, datasets or the orchestrator."""
