"""The harness: recipes become runs, runs leave records, records become tables."""
