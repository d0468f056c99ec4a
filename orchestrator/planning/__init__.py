"""From a manifest to trials: identities, edges, what is done, stale or lacking, and the zero-shot gate."""
