"""The manifest: YAML to what is to be run, with every problem named by its line. No ray, no torch."""
