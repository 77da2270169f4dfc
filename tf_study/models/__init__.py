"""Models that several lectures use, each built step by step in one of them."""
