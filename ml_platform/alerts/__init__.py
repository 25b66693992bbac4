"""What went wrong and who was told: findings become incidents, incidents become messages."""
