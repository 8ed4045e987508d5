"""What a study found, what it cost and what went wrong: as text, JSON or one HTML file."""
