"""What the reports of all kinds share: their style, how they draw, and how they write numbers."""
