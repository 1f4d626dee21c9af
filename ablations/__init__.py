"""The front door: studies, grid, runner, executors and the command line."""
