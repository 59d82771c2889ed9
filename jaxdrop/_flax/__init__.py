"""What Linen and NNX layers share: when a key is drawn, and what a mode and a rate may be."""
