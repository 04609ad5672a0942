"""What the command line shows: tables and progress bars."""
