"""Korean reviews to sentiments: trains a BERT, writes it as a SavedModel that takes strings, serves it."""
