"""What is removed when nobody needs it any more: runs, events, logs, old commits of tables, and models never used."""
