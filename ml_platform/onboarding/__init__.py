"""From unknown data to a first use case: what the data holds, what is dangerous in it, and the files to begin with."""
