"""Configurations and parameters of other implementations, in the terms of this one."""
