"""From records to numbers: rows, tables, statistics, comparison, merging. No ray, no torch."""
