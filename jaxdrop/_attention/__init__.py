"""Attention with dropout: one mask, a function of key and position, however it is computed."""
