"""Plans a manifest into trials, runs them on Ray and turns their records into tables. The only package that imports ray."""
