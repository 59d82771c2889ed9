"""The networks of the dropout paper, and how they are trained."""
