"""What models wrote, run: queries in sqlite, and Python code where nothing else can be reached."""
