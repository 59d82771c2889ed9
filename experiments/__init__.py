"""One file or folder per question asked of dropout. ``scripts/run`` lists them."""
