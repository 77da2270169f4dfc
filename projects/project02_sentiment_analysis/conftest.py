"""Fixtures of the project's tests. Its presence also puts this folder on sys.path."""
