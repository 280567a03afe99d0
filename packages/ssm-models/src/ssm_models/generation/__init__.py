"""Fast steps for whoever generates samples one after another."""
