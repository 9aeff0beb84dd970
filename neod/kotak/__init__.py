"""What Kotak Neo says, and how to say it."""
