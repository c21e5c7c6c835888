"""The engine on Ray, the runner, the command line."""
