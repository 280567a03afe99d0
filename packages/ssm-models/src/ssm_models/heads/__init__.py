"""What stands before and after a backbone: encoders and decoders."""
