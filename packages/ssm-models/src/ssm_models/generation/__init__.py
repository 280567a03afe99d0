"""Fast steps for code that generates samples one after another."""
