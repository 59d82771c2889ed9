"""The members of the family: pure functions of (key, x, rate), one file each."""
