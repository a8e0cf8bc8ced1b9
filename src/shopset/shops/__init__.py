"""Where shops come from: files, a table of PostgreSQL, and Shop resources, merged."""
