"""Settings and parameters of other implementations become configurations and parameters of this one."""
