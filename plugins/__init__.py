"""The built-in plugins, one folder for each config group. They use no door that a stranger's plugin does not have."""
