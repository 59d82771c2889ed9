"""Proofs about compiled programs and about peers, for machines without an accelerator.

Started by ``scripts/prove``; the reports lie in ``results/prove``. What only an accelerator can
show is in ``device``, and its reports in ``results/device``.
"""
