"""The benchmark harness: it turns recipes into runs, runs into records, and records into tables."""
