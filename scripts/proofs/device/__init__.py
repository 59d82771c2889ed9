"""What only a GPU or TPU can show, piece by piece. Started by ``scripts/prove device``.

``piece.py`` lists the pieces; every other file that is named after one, or after several, is what
they do. ``__main__.py`` runs each in a process of its own, ``store.py`` keeps what came out, and
``page.py`` makes the pages in ``results/device`` of it.
"""
