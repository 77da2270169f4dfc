"""The graders, one module a practice: ``chapterNN_exNN``."""
