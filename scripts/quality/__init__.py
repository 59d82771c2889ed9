"""Evidence about the generator: bit streams, statistical tests, candidates compared."""
