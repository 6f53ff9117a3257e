"""What stands between a call and whoever answers it: slots, deadlines, tries and outages."""
