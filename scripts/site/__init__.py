"""The site: its pages are put together, built by Sphinx, and looked at in a browser."""
