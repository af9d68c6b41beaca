"""What make calls: running the notebooks, printing the book."""
