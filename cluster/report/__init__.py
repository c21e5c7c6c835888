"""What people see of a run: status, progress, yield, and search results."""
