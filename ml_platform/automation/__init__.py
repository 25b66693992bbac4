"""What a use case does by itself: its schedules, sensors and conditions."""
