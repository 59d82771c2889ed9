"""What every experiment shares: its command, its folder, its result."""
