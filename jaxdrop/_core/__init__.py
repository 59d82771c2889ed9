"""What draws bits: key words, index, mix, threshold, mask and scale; README.md explains it."""
