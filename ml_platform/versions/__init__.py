"""What is asked and done about registered versions: moves of the champion, traces, comparisons, reproduction."""
