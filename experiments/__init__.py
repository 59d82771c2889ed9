"""One file per question asked of dropout. ``scripts/run`` lists them."""
