"""`prepare`, `verify` and captions: published datasets to shards, on this machine, over Ray, to a bucket."""
