"""What rooms cost beside what else there is, measured side by side. ``make bench``; see README.md."""
