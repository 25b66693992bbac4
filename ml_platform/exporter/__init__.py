"""What Prometheus and Grafana are told: series read from the instance, a dashboard, and rules for alerts."""
