"""Everything that is painted. Knows the model and the layout; changes neither."""
